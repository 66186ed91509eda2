"""What the operator's account may do: operator.md §8's table, once, and the manifests that are generated from it.

Callers: tests/generators (manifests/rbac), the cluster stage, which compares it with what the operator really asked.
"""

from __future__ import annotations

from typing import Any, Final

from scalable_operator import installed
from scalable_operator.lease import NAME

Object = dict[str, Any]
ACCOUNT: Final = "scalable-api-operator"
NAMESPACE: Final = "scalable-api-system"
RBAC: Final = "rbac.authorization.k8s.io"

RULES: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("scalableapi.io", "scalableapis", ("list", "watch")),
    ("scalableapi.io", "scalableapis/status", ("patch",)),
    ("apps", "deployments", ("get", "list", "watch")),
    ("apps", "deployments/scale", ("patch",)),
    ("", "pods", ("list", "watch", "patch")),
    ("", "configmaps", ("get", "list", "watch", "create", "patch")),
    ("autoscaling", "horizontalpodautoscalers", ("list", "watch")),
    ("events.k8s.io", "events", ("create",)),
)
"""Group, resource, verbs: in every namespace, or in each that is watched. Each is used: tests/cluster/test_operator_rest.py."""
CRD_RULE: Final[Object] = {
    "apiGroups": ["apiextensions.k8s.io"],
    "resources": ["customresourcedefinitions"],
    "resourceNames": [installed.NAME],
    "verbs": ["get"],
}
"""In the ClusterRole alone: a namespaced operator takes the CRD as it is."""
LEASE_RULES: Final = (
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [NAME],
        "verbs": ["get", "update"],
    },
)


def rules() -> list[Object]:
    """As a role has them."""
    return [{"apiGroups": [group], "resources": [what], "verbs": list(verbs)} for group, what, verbs in RULES]


def clusterwide(home: str = NAMESPACE) -> list[Object]:
    """`home` is the operator's own namespace. Account, its rights everywhere, its right to the Lease."""
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": home}},
        _role("ClusterRole", ACCOUNT, "", [*rules(), CRD_RULE]),
        _binding("ClusterRole", ACCOUNT, "", home),
        *_lease(home),
    ]


def namespaced(namespace: str, home: str = NAMESPACE) -> list[Object]:
    """Account, its rights in one watched namespace, its right to the Lease; set WATCH_NAMESPACES too."""
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": home}},
        _role("Role", ACCOUNT, namespace, rules()),
        _binding("Role", ACCOUNT, namespace, home),
        *_lease(home),
    ]


def token_reader(secret: str, namespace: str, home: str = NAMESPACE) -> list[Object]:
    """What the workload's own chart grants: one Secret, nothing but the control token is in it."""
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret], "verbs": ["get"]}
    name = f"{ACCOUNT}-token"
    return [_role("Role", name, namespace, [rule]), _binding("Role", name, namespace, home)]


def _lease(home: str) -> list[Object]:
    name = f"{ACCOUNT}-leader"
    return [_role("Role", name, home, list(LEASE_RULES)), _binding("Role", name, home, home)]


def _role(kind: str, name: str, namespace: str, granted: list[Object]) -> Object:
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": _metadata(name, namespace), "rules": granted}


def _binding(kind: str, name: str, namespace: str, home: str) -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": f"{kind}Binding",
        "metadata": _metadata(name, namespace),
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": home}],
    }


def _metadata(name: str, namespace: str) -> Object:
    return {"name": name, "namespace": namespace} if namespace else {"name": name}
