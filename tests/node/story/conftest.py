"""The story's cluster, its installed platform, and a key whose tier the load does not exhaust. `./dev e2e` runs it, in the files' order."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.node.story.cluster import NAME, NAMESPACE, SYSTEM, Cluster

RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kubeconfig", type=Path, help="the cluster to tell the story on")
    parser.addoption("--images", default="", help="the registry of the project's images, if they are not on the node")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(600))


@dataclass(frozen=True, slots=True)
class Platform:
    """Installed: its gateway's address, and how long each chart took until all was Ready."""

    cluster: Cluster
    url: str
    seconds: dict[str, float]

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=10)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Cluster:
    kubeconfig = pytestconfig.getoption("--kubeconfig")
    if kubeconfig is None:
        pytest.skip("needs a cluster: ./dev e2e")
    return Cluster(kubeconfig, pytestconfig.getoption("--images"))


@pytest.fixture(scope="session")
def platform(cluster: Cluster) -> Platform:
    """Both charts, in namespaces that admit restricted pods alone."""
    seconds = {}
    for namespace, chart in ((SYSTEM, "operator"), (NAMESPACE, "platform")):
        cluster.kubectl("create", "namespace", namespace)
        cluster.kubectl("label", "namespace", namespace, RESTRICTED)
        began = time.monotonic()
        cluster.install(chart)
        seconds[chart] = time.monotonic() - began
    return Platform(cluster, cluster.url(), seconds)


@pytest.fixture(scope="session")
def key(platform: Platform) -> dict[str, str]:
    """The header of a key of the tier `enterprise`, made as the first administrator does it: log in, choose a password, create it."""
    chosen = "a password of the story 1"
    with platform.http() as http:
        first = {"email": "admin@example.com", "password": platform.cluster.secret(f"{NAME}-keys", "admin-password")}
        session = bearer(http, first)
        change = {"currentPassword": first["password"], "newPassword": chosen}
        changed = http.put("/api/v1/auth/password", headers=session, json=change)
        assert changed.status_code == 204, changed.text
        session = bearer(http, {**first, "password": chosen})
        body = {"name": "story", "scopes": ["read", "write", "admin"], "tier": "enterprise"}
        made = http.post("/api/v1/keys", headers=session, json=body)
        assert made.status_code == 201, made.text
    return {"x-api-key": made.json()["key"]}


def bearer(http: httpx.Client, who: dict[str, str]) -> dict[str, str]:
    answer = http.post("/api/v1/auth/login", json=who)
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['token']}"}


def shown(*facts: object) -> None:
    """One line of figures, past pytest's capture of what passes (`./dev e2e` runs with -s)."""
    print("\n    " + " ".join(fact if isinstance(fact, str) else json.dumps(fact) for fact in facts), flush=True)
