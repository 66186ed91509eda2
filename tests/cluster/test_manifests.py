"""manifests/ on an API server: overlays are admitted whole, and the policy on pods holds the operator to one annotation."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.cluster.client import Client
from tests.harness import helm, kubernetes_schemas

MANIFESTS: Final = helm.ROOT / "manifests"
OTHERS: Final = "monitoring.coreos.com"


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """A copy, with the Secrets that overlay kind asks for."""
    copy = tmp_path / "manifests"
    shutil.copytree(MANIFESTS, copy)
    subprocess.run([str(copy / "overlays" / "kind" / "keys.sh")], check=True, capture_output=True)
    return copy


def built(kubectl: Callable[..., str], manifests: Path, overlay: str) -> list[helm.Object]:
    return list(yaml.safe_load_all(kubectl("kustomize", str(manifests / "overlays" / overlay))))


@pytest.mark.parametrize("overlay", ["kind", "prod"])
def test_overlay_is_admitted(client: Client, kubectl: Callable[..., str], manifests: Path, overlay: str) -> None:
    """Each object of an overlay passes its schema and a server-side dry run, in namespaces that enforce the restricted profile."""
    things = built(kubectl, manifests, overlay)
    assert [line for thing in things for line in kubernetes_schemas.complaints(thing)] == []
    for thing in things:
        if thing["kind"] == "Namespace":
            assert thing["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
            client.ask("POST", "/api/v1/namespaces", thing)
    ours = [t for t in things if not t["apiVersion"].startswith(OTHERS) and t["kind"] != "Namespace"]
    answer = kubectl_anywhere(kubectl, ours)
    assert answer.count("(server dry run)") == len(ours)
    assert "Warning" not in answer


def kubectl_anywhere(kubectl: Callable[..., str], things: list[helm.Object]) -> str:
    """Applies objects of several namespaces in a dry run; what would be warned of is in the answer."""
    text = yaml.safe_dump_all(things)
    return kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "--namespace=", "-f", "-", stdin=text
    )


def test_overlay_pods_are_admitted(client: Client, kubectl: Callable[..., str], manifests: Path) -> None:
    """A namespace that enforces the restricted profile admits a pod of each workload of overlay kind."""
    things = built(kubectl, manifests, "kind")
    client.ask("POST", "/api/v1/namespaces", next(t for t in things if t["metadata"]["name"] == "scalable-api"))
    client.watch(
        "/api/v1/namespaces/scalable-api/serviceaccounts",
        lambda _account: True,
        20,
        fieldSelector="metadata.name=default",
    )
    workloads = [t for t in things if t["kind"] in {"Deployment", "StatefulSet"}]
    assert len(workloads) == 6
    for thing in workloads:
        template = thing["spec"]["template"]
        claims = [
            {"name": c["metadata"]["name"], "emptyDir": {}} for c in thing["spec"].get("volumeClaimTemplates", ())
        ]
        spec = {**template["spec"], "serviceAccountName": "default"}
        spec["volumes"] = [*spec["volumes"], *claims]
        pod = {"metadata": {"name": "one", "labels": template["metadata"]["labels"]}, "spec": spec}
        answer = client.ask("POST", "/api/v1/namespaces/scalable-api/pods", pod, dryRun="All")
        assert answer.status_code == 201, answer.text


def test_overlay_kind_hangs_together(kubectl: Callable[..., str], manifests: Path) -> None:
    """Each Secret that a pod of overlay kind mounts is made, with the keys it names; stores and processes know the same passwords."""
    things = built(kubectl, manifests, "kind")
    secrets = {t["metadata"]["name"]: t["data"] for t in things if t["kind"] == "Secret"}
    wanted = [s for t in things for s in _secrets(t)]
    assert wanted
    for name, keys in wanted:
        assert keys <= secrets[name].keys(), name
    for url in ("owner-url", "app-url", "gateway-url", "redis-url"):
        assert secrets["scalable-api-stores"][url] == secrets["scalable-api-keys"][f"dev-{url}"]
    images = [c["image"] for t in things if t["kind"] == "Deployment" for c in helm.containers(t["spec"]["template"])]
    assert {i.partition("/scalable-api-")[0] for i in images} == {"localhost:5001"}


def _secrets(node: Any) -> list[tuple[str, set[str]]]:
    if isinstance(node, list):
        return [found for child in node for found in _secrets(child)]
    if not isinstance(node, dict):
        return []
    own = node.get("secret")
    name = own.get("name") or own.get("secretName") if isinstance(own, dict) else None
    keys = {item["key"] for item in own.get("items") or ()} if isinstance(own, dict) else set()
    return ([(name, keys)] if name else []) + [found for child in node.values() for found in _secrets(child)]


def test_keys_are_made_once(manifests: Path) -> None:
    """keys.sh makes files that their owner alone reads, with what the processes ask of secrets; a second run changes nothing."""
    folder = manifests / "overlays" / "kind"
    made = {f.name: f.read_text() for f in folder.glob("*.env")}
    assert made.keys() == {"keys.env", "control.env", "stores.env"}
    assert {f.stat().st_mode & 0o777 for f in folder.glob("*.env")} == {0o600}
    subprocess.run([str(folder / "keys.sh")], check=True, capture_output=True)
    assert {f.name: f.read_text() for f in folder.glob("*.env")} == made
    keys = dict(line.split("=", 1) for line in made["keys.env"].splitlines())
    passwords = [keys[f"dev-{role}-url"].split(":")[2].split("@")[0] for role in ("owner", "app", "gateway")]
    assert len({*passwords, keys["admin-password"], keys["webhook-secret"]}) == 5
    assert all(len(p) == 32 for p in passwords)
