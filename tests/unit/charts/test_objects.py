"""Every values file of both charts: Helm has nothing to complain of, API servers would take each object, and what refers fits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.harness import helm, kubernetes_schemas
from tests.unit.charts.scenes import DEFAULT, GENERATED_BELOW, SCENES, each, scene, values

CLUSTERS = {
    *("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"),
    *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
}
"""Kinds without a namespace."""
LABEL = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
NEVER_CHANGED: Mapping[str, Mapping[str, str]] = {
    "scalable-api-operator": {"scalable-api-operator": "operator"},
    "scalable-api": {f"scalable-api-{component}": component for component in ("gateway", "balancer", "api")},
}
"""Chart → Deployment → the component in its selector, which Kubernetes lets nobody change: as released with 1.0.0."""


def test_values_files_exist() -> None:
    """Both charts have values files, and among them a plain one and one for a parent chart."""
    for chart, plain in DEFAULT.items():
        assert {plain, GENERATED_BELOW} <= {name for of, name in SCENES if of == chart}


@each
def test_lint(chart: str, name: str) -> None:
    """`helm lint --strict` finds neither errors nor warnings."""
    assert helm.lint(chart, values(chart, name)) == []


@each
def test_schemas(chart: str, name: str) -> None:
    """Each object fits its kind's schema in Kubernetes 1.34 to 1.37, the CRD's, or the shape of another project's kind."""
    rendered = scene(chart, name)
    assert len(rendered.objects) > 5
    assert [line for thing in rendered.objects for line in kubernetes_schemas.complaints(thing)] == []


@each
def test_equal_renders(chart: str, name: str) -> None:
    """An upgrade with the same values renders what the installation did: no dice, no clock, nothing for GitOps to quarrel with."""
    assert scene(chart, name).templates == scene(chart, name, upgrade=True).templates


@each
def test_names(chart: str, name: str) -> None:
    """Names are labels of DNS, each once; label values are such as the API server takes."""
    things = scene(chart, name).objects
    for thing in things:
        dotted = thing["kind"] == "CustomResourceDefinition"
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?" if not dotted else r"[a-z.]+", thing["metadata"]["name"])
        assert len(thing["metadata"]["name"]) <= 63
    places = [(t["kind"], t["metadata"].get("namespace"), t["metadata"]["name"]) for t in things]
    assert sorted({p for p in places if places.count(p) > 1}, key=str) == []
    bad = [v for t in things for v in _labels(t) if len(v) > 63 or not LABEL.fullmatch(v)]
    assert bad == []


def _labels(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, child in node.items():
            if key in {"labels", "matchLabels"} and isinstance(child, dict):
                yield from (v for v in child.values() if isinstance(v, str))
            elif node.get("kind") != "CustomResourceDefinition" and key != "groups":
                yield from _labels(child)
    elif isinstance(node, list):
        for child in node:
            yield from _labels(child)


@each
def test_namespaces(chart: str, name: str) -> None:
    """Each object says its namespace, unless it is the cluster's: `helm template | kubectl apply` puts it where Helm does."""
    files = scene(chart, name).templates.items()
    for thing in [thing for file, things in files for thing in things if file != "extra-objects.yaml"]:
        assert (thing["kind"] in CLUSTERS) == ("namespace" not in thing["metadata"]), thing["metadata"]["name"]


def fits(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Does a label selector, matchLabels and matchExpressions, select these labels?"""
    for row in selector.get("matchExpressions") or ():
        value, wanted = labels.get(row["key"]), row.get("values") or []
        verdict = {"In": value in wanted, "NotIn": value not in wanted, "Exists": value is not None}
        if not verdict[row["operator"]]:
            return False
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())


def ports(pod: helm.Object) -> set[Any]:
    named = [p for c in pod["spec"]["containers"] for p in c.get("ports") or ()]
    return {p.get("name") for p in named} | {p["containerPort"] for p in named}


@each
def test_services_lead_to_pods(chart: str, name: str) -> None:
    """Each Service selects the pods of one workload, and its target ports are theirs."""
    rendered = scene(chart, name)
    for service in rendered.kind("Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        found = [p for _, p in helm.pods(rendered) if fits(selector, p["metadata"].get("labels") or {})]
        assert len(found) == 1, service["metadata"]["name"]
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports(found[0])


@each
def test_monitors_find_their_port(chart: str, name: str) -> None:
    """A ServiceMonitor selects rendered Services that have its port; a PodMonitor pods; both, where they are."""
    rendered = scene(chart, name)
    for monitor in rendered.kind("ServiceMonitor"):
        found = [s for s in rendered.kind("Service") if fits(monitor["spec"]["selector"], s["metadata"]["labels"])]
        assert found
        for service in found:
            assert _endpoints(monitor) <= {p["name"] for p in service["spec"]["ports"]}
            assert monitor["spec"]["jobLabel"] in service["metadata"]["labels"]
            assert _covers(monitor, service["metadata"]["namespace"])
    for monitor in rendered.kind("PodMonitor"):
        selected = [p for _, p in helm.pods(rendered) if fits(monitor["spec"]["selector"], p["metadata"]["labels"])]
        assert selected
        assert all(_endpoints(monitor) <= ports(p) for p in selected)


def _endpoints(monitor: helm.Object) -> set[str]:
    spec = monitor["spec"]
    return {endpoint["port"] for endpoint in spec.get("endpoints") or spec["podMetricsEndpoints"]}


def _covers(monitor: helm.Object, namespace: str) -> bool:
    where = monitor["spec"].get("namespaceSelector") or {}
    own = [monitor["metadata"]["namespace"]]
    return bool(where.get("any")) or namespace in (where.get("matchNames") or own)


@each
def test_targets_exist(chart: str, name: str) -> None:
    """What scales, protects or isolates pods names workloads of the same rendering."""
    rendered = scene(chart, name)
    deployments = {d["metadata"]["name"] for d in rendered.kind("Deployment")}
    for scaler in rendered.kind("HorizontalPodAutoscaler", "ScaledObject"):
        assert scaler["spec"]["scaleTargetRef"]["name"] in deployments
    for thing in rendered.kind("PodDisruptionBudget", "NetworkPolicy"):
        selector = thing["spec"].get("selector") or thing["spec"]["podSelector"]
        assert any(fits(selector, p["metadata"].get("labels") or {}) for _, p in helm.pods(rendered))


@each
def test_bindings_fit(chart: str, name: str) -> None:
    """A binding's role is rendered beside it; its account too, unless the values name somebody else's."""
    rendered = scene(chart, name)
    for binding in rendered.kind("RoleBinding", "ClusterRoleBinding"):
        role = binding["roleRef"]
        found = [r for r in rendered.kind(role["kind"]) if r["metadata"]["name"] == role["name"]]
        assert [r for r in found if r["metadata"].get("namespace") == binding["metadata"].get("namespace")]


@each
def test_mounts_have_volumes(chart: str, name: str) -> None:
    """Each mount names a volume of its pod, each mount path once, and none is by subPath, which never sees an update."""
    for owner, pod in helm.pods(scene(chart, name)):
        claims = [c["metadata"]["name"] for c in owner["spec"].get("volumeClaimTemplates") or ()]
        volumes = [v["name"] for v in pod["spec"].get("volumes") or ()] + claims
        assert len(volumes) == len(set(volumes))
        for container in helm.containers(pod):
            mounts = container.get("volumeMounts") or []
            assert {m["name"] for m in mounts} <= set(volumes)
            assert len({m["mountPath"] for m in mounts}) == len(mounts)
            assert not [m for m in mounts if "subPath" in m]


@pytest.mark.parametrize("chart", DEFAULT)
def test_selectors_never_change(chart: str) -> None:
    """A Deployment's selector cannot be changed: an upgrade from any release would fail on another one."""
    rendered = scene(chart, DEFAULT[chart])
    found = {d["metadata"]["name"]: d["spec"]["selector"]["matchLabels"] for d in rendered.kind("Deployment")}
    for deployment, component in NEVER_CHANGED[chart].items():
        assert found[deployment] == {
            "app.kubernetes.io/name": chart,
            "app.kubernetes.io/instance": chart,
            "app.kubernetes.io/component": component,
        }
