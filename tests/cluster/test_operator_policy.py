"""The chart's policy on pods, on an API server: RBAC lets the operator patch a pod, the policy lets it change one annotation."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from tests.cluster.client import APPLY, MERGE, Client, Object
from tests.cluster.control_plane import ControlPlane
from tests.harness import helm
from tests.harness.wait import eventually

CHART: Final = "scalable-api-operator"
COST: Final = "controller.kubernetes.io/pod-deletion-cost"
KINDS: Final = "/apis/admissionregistration.k8s.io/v1"
POD: Final = {
    "metadata": {
        "name": "one",
        "labels": {"app": "one"},
        "annotations": {"kept": "as it is"},
        "finalizers": ["example.com/held"],
    },
    "spec": {"containers": [{"name": "one", "image": "example.com/one:1"}]},
}


@pytest.fixture
def policed(client: Client, namespace: str) -> Iterator[str]:
    """The namespace, where the chart's policy and rights hold for an account of it, and a pod is."""
    rendered = helm.render(CHART, {"crds": {"install": False}, "fullnameOverride": namespace}, namespace=namespace)
    made = []
    for thing in rendered.kind(
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ):
        path = paths(thing)
        client.do("PATCH", path, thing, kind=APPLY, fieldManager="test", fieldValidation="Strict")
        made += [path] * ("namespace" not in thing["metadata"])
    pods = f"/api/v1/namespaces/{namespace}/pods"
    client.do("POST", pods, POD)
    yield namespace
    client.do("PATCH", f"{pods}/one", {"metadata": {"finalizers": None}}, kind=MERGE)
    for path in reversed(made):
        client.do("DELETE", path)


def paths(thing: Object) -> str:
    group = "/api/v1" if thing["apiVersion"] == "v1" else f"/apis/{thing['apiVersion']}"
    where = f"/namespaces/{thing['metadata']['namespace']}" if "namespace" in thing["metadata"] else ""
    plural = thing["kind"].lower().replace("policy", "policie") + "s"
    return f"{group}{where}/{plural.replace('policiebinding', 'policybinding')}/{thing['metadata']['name']}"


def cost(value: str | None) -> Object:
    return {"metadata": {"annotations": {COST: value}}}


REFUSED: Final[list[tuple[str, Any, str]]] = [
    ("image", [{"op": "replace", "path": "/spec/containers/0/image", "value": "evil"}], "spec"),
    ("label", [{"op": "add", "path": "/metadata/labels/app", "value": "two"}], "labels"),
    ("finalizers", [{"op": "remove", "path": "/metadata/finalizers"}], "finalizers"),
    ("other annotation", [{"op": "add", "path": "/metadata/annotations/other", "value": "1"}], COST),
    ("changed annotation", [{"op": "replace", "path": "/metadata/annotations/kept", "value": "1"}], COST),
    ("removed annotation", [{"op": "remove", "path": "/metadata/annotations/kept"}], COST),
    (
        "owner",
        [
            {
                "op": "add",
                "path": "/metadata/ownerReferences",
                "value": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "0"}],
            }
        ],
        "owners",
    ),
]


async def test_one_annotation_and_no_more(plane: ControlPlane, client: Client, policed: str) -> None:
    """The operator sets, changes and clears the deletion cost; whatever else it asks of a pod is refused in words; others may."""
    pod = f"/api/v1/namespaces/{policed}/pods/one"
    token = client.do("POST", f"/api/v1/namespaces/{policed}/serviceaccounts/{policed}/token", {"spec": {}})["status"][
        "token"
    ]
    label: Any = [{"op": "add", "path": "/metadata/labels/app", "value": "two"}]

    def tried(who: Client, patch: Any) -> httpx.Response:
        return who.ask("PATCH", pod, patch, kind="application/json-patch+json", dryRun="All")

    with Client(plane.url, token, ssl.create_default_context(cafile=str(plane.authority))) as operator:
        await eventually(lambda: tried(operator, label).status_code == 422, 20, "the policy is in force")
        for value in ("-100", "-200", None):
            assert operator.do("PATCH", pod, cost(value), kind=MERGE)["metadata"]["annotations"].get(COST) == value
        for what, patch, said in REFUSED:
            answer = tried(operator, patch)
            assert answer.status_code == 422, f"{what}: {answer.text}"
            assert said in answer.json()["message"], what
    assert tried(client, label).is_success


def test_policy_compiles(client: Client, policed: str) -> None:
    """The API server's type check finds no fault with the policy's expressions."""

    def checked(found: Object) -> bool:
        return bool((found.get("status") or {}).get("observedGeneration") == found["metadata"]["generation"])

    name = f"metadata.name={policed}-deletion-cost"
    found = client.watch(f"{KINDS}/validatingadmissionpolicies", checked, 20, fieldSelector=name)
    assert found["status"].get("typeChecking", {}) == {}
