"""The platform's chart before a real API server: a namespace that enforces `restricted` takes each pod, and the bootstrap Job's rights are
just enough to make the two Secrets that the pods mount.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.cli.commands import bootstrap
from services.cli.errors import CliError
from services.runtime.endpoints import SourceError
from services.runtime.kube_api import Cluster
from tests.cluster.client import APPLY, MERGE, Client, Object
from tests.cluster.conftest import new_namespace
from tests.cluster.control_plane import ControlPlane
from tests.harness import helm

CHART = "scalable-api"
FOREIGN = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute"}
"""Kinds whose owners are not installed here; their shapes: tests/unit/charts."""
GROUPS = {
    "v1": {"ConfigMap", "Pod", "Secret", "Service", "ServiceAccount"},
    "apps/v1": {"Deployment", "StatefulSet"},
    "rbac.authorization.k8s.io/v1": {"Role", "RoleBinding"},
}
RESTRICTED = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}


@pytest.fixture
def strict(client: Client) -> str:
    """A namespace that admits restricted pods alone."""
    name = new_namespace(client)
    client.do("PATCH", f"/api/v1/namespaces/{name}", RESTRICTED, kind=MERGE)
    return name


def apply(client: Client, thing: Object, namespace: str, **query: str) -> Object:
    version, kind, name = thing["apiVersion"], thing["kind"], thing["metadata"]["name"]
    plural = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}.get(kind, f"{kind.lower()}s")
    path = f"/{'api' if version == 'v1' else 'apis'}/{version}/namespaces/{namespace}/{plural}/{name}"
    return client.do("PATCH", path, thing, kind=APPLY, fieldManager="helm", fieldValidation="Strict", **query)


def made_in(namespace: str, values: str) -> helm.Rendered:
    given = helm.load_values(helm.ci_values(CHART)[values]) | {"namespaceOverride": namespace}
    return helm.render(CHART, given, name="shop")


@pytest.mark.parametrize("values", sorted(helm.ci_values(CHART)))
def test_the_api_server_takes_every_object(client: Client, strict: str, values: str) -> None:
    """Strictly decoded, defaulted, validated, the ScalableApi by its CEL; every pod by the admission of `restricted`."""
    rendered = made_in(strict, values)
    ours = [thing for thing in rendered.objects if thing["kind"] not in FOREIGN]
    assert len(ours) > 20
    for thing in ours:
        metadata = thing["metadata"] | {"namespace": strict}
        apply(client, thing | {"metadata": metadata}, strict, dryRun="All")
    for maker, pod in helm.pods(rendered):
        metadata = {"name": maker["metadata"]["name"], "labels": pod["metadata"]["labels"]}
        spec = _alone(pod["spec"], maker["spec"].get("volumeClaimTemplates") or ())
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        client.do("POST", f"/api/v1/namespaces/{strict}/pods", body, dryRun="All", fieldValidation="Strict")


def _alone(spec: Object, claims: Sequence[Object]) -> Object:
    """Without what is looked up and a dry run does not make, account and priority class; claims' volumes are the StatefulSet's to add."""
    kept = {name: value for name, value in spec.items() if name not in {"serviceAccountName", "priorityClassName"}}
    volumes = [{"name": claim["metadata"]["name"], "emptyDir": {}} for claim in claims]
    return kept | {"volumes": [*spec["volumes"], *volumes]}


@pytest.fixture
def account(
    client: Client, namespace: str, plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Cluster:
    """The bootstrap pod's: the ServiceAccount, Role and binding that the chart's hook brings, and what the kubelet mounts of them."""
    for thing in made_in(namespace, "dev").templates["bootstrap-rbac.yaml"]:
        apply(client, thing, namespace)
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/shop-scalable-api-bootstrap/token"
    token = client.do("POST", path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
    (tmp_path / "token").write_text(token)
    (tmp_path / "namespace").write_text(namespace)
    shutil.copy(plane.authority, tmp_path / "ca.crt")
    cluster = Cluster(plane.url, tmp_path)
    monkeypatch.setattr(bootstrap, "in_cluster", lambda: cluster)
    return cluster


def flags(namespace: str) -> dict[str, str]:
    """The Job's own, by name."""
    (job,) = made_in(namespace, "dev").templates["bootstrap-job.yaml"]
    program, command, *rest = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert (program, command) == ("scalable-api", "bootstrap")
    return dict(flag.removeprefix("--").split("=", 1) for flag in rest)


def run(namespace: str) -> int:
    given = flags(namespace)
    return bootstrap.run(given["secret"], given["control-secret"], given["dev-postgres"], given["dev-redis"])


def secrets(client: Client, namespace: str) -> dict[str, dict[str, str]]:
    found = client.do("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
    return {item["metadata"]["name"]: item["data"] for item in found}


def mounted(rendered: helm.Rendered) -> set[tuple[str, str]]:
    """Secret and key of everything that a pod mounts."""
    sources = [
        source["secret"]
        for _, pod in helm.pods(rendered)
        for volume in pod["spec"].get("volumes") or ()
        for source in [volume, *(volume.get("projected") or {}).get("sources", ())]
        if "secret" in source
    ]
    return {(s.get("name") or s["secretName"], item["key"]) for s in sources for item in s["items"]}


def test_bootstrap_makes_what_the_pods_mount(client: Client, namespace: str, account: Cluster) -> None:
    """With the hook's own rights, both Secrets, with every key that a pod of the chart names. Again: nothing changes."""
    assert run(namespace) == 0
    made = secrets(client, namespace)
    wanted = mounted(made_in(namespace, "dev"))
    assert wanted <= {(name, key) for name, data in made.items() for key in data}
    assert {name for name, _ in wanted} == set(made)
    assert run(namespace) == 0
    assert secrets(client, namespace) == made


def test_bootstrap_says_what_a_secret_lacks(client: Client, namespace: str, account: Cluster) -> None:
    """One that was there already, by hand or from an older version, is left as it is, and the missing keys are named."""
    name = flags(namespace)["secret"]
    body = {"metadata": {"name": name}, "stringData": {"identity-secrets": "x", "webhook-secret": "y"}}
    client.do("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
    with pytest.raises(CliError, match=f"the Secret {name} lacks admin-password, api-key-peppers, dev-") as failed:
        run(namespace)
    assert failed.value.exit_code == 1
    assert set(secrets(client, namespace)[name]) == {"identity-secrets", "webhook-secret"}


async def test_the_hook_may_read_nothing_else(client: Client, namespace: str, account: Cluster) -> None:
    """A Secret of another name: neither read nor listed nor changed; and what was refused is told with the API server's words."""
    body = {"metadata": {"name": "other"}, "stringData": {"x": "y"}}
    client.do("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
    path = f"/api/v1/namespaces/{namespace}/secrets"
    async with account.client() as http:
        asked = [http.get(f"{path}/other"), http.get(path), http.delete(f"{path}/{flags(namespace)['secret']}")]
        assert [(await question).status_code for question in asked] == [403, 403, 403]
    with pytest.raises(SourceError, match=r'403.*"other"'):
        await bootstrap.make(account, {"other": {"x": "z"}})


def test_the_operator_may_read_the_control_secret_alone(client: Client, namespace: str, account: Cluster) -> None:
    """Rights as the API server reckons them, for the account that the values name."""
    run(namespace)
    for thing in made_in(namespace, "dev").templates["operator-access-rbac.yaml"]:
        apply(client, thing, namespace)
    user = "system:serviceaccount:scalable-api-system:scalable-api-operator"
    for name, allowed in (("shop-scalable-api-control", True), ("shop-scalable-api-keys", False)):
        what = {"namespace": namespace, "verb": "get", "resource": "secrets", "name": name}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        body = review | {"spec": {"user": user, "resourceAttributes": what}}
        answer = client.do("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
        assert answer["status"]["allowed"] is allowed, json.dumps(answer["status"])
