"""Objects' JSON in, small records out."""

from __future__ import annotations

import sys
from typing import Any

from scalable_operator import records
from scalable_operator.records import Requirement


def api(spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    meta = {"uid": "u", "namespace": "n", "name": "shop", "generation": 2, "resourceVersion": "5", **metadata}
    return {"apiVersion": "scalableapi.io/v1", "kind": "ScalableApi", "metadata": meta, "spec": spec}


def pod(**status: Any) -> dict[str, Any]:
    port = {"name": "control", "containerPort": 9180}
    return {
        "metadata": {"uid": "p", "namespace": "n", "name": "shop-api-1", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "node", "containers": [{"ports": [{"containerPort": 80}, port]}]},
        "status": status,
    }


def test_a_scalable_api() -> None:
    """Its spec, its own annotations, and a digest of its status."""
    body = api({"components": [{"name": "api"}]}, annotations={"scalableapi.io/reconcile": "disabled", "x": "y"})
    found = records.api_record(body)
    assert found.spec is not None
    assert found.errors == ()
    assert found.annotations == (("scalableapi.io/reconcile", "disabled"),)
    assert found.status == records.digest({})


def test_what_the_api_server_cannot_see_is_refused() -> None:
    """Named by field; the record has no spec then."""
    policies = [{"name": "p", "quota": 1, "window": 60}]
    tier = {"name": "free", "criticality": "critical", "policies": policies}
    same = {"name": "anonymous", "criticality": "critical", "policies": [{**policies[0], "quota": 2}]}
    found = records.api_record(api({"components": [{"name": "api"}], "tiers": {"definitions": [tier, same]}}))
    assert found.spec is None
    assert found.errors
    assert "spec.tiers" in found.errors[0]


def test_a_pod_is_where_its_control_port_is() -> None:
    """The port named control; before there is an address there is none."""
    assert records.pod_record(pod(phase="Running", podIP="10.0.0.7")).control == "http://10.0.0.7:9180"
    assert records.pod_record(pod(phase="Running", podIP="fd00::7")).control == "http://[fd00::7]:9180"
    assert records.pod_record(pod(phase="Pending")).control == ""


def test_a_pods_state() -> None:
    """Ready by its condition, failed when it ended, its reason its container's or the scheduler's."""
    ready = records.pod_record(pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}]))
    assert (ready.ready, ready.phase, ready.node) == (True, "Running", "node")
    assert records.pod_record(pod(phase="Succeeded")).phase == "Failed"
    waiting = [{"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    crashing = records.pod_record(pod(phase="Running", containerStatuses=waiting))
    assert (crashing.restarts, crashing.reason) == (3, "CrashLoopBackOff")
    unplaced = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}]
    assert records.pod_record(pod(phase="Pending", conditions=unplaced)).reason == "Unschedulable: no node"


def test_a_deployment_names_who_set_its_replicas() -> None:
    """By managedFields, whatever the subresource."""
    fields = [
        {"manager": "helm", "fieldsV1": {"f:spec": {"f:template": {}}}},
        {"manager": "kubectl", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
    ]
    body = {
        "metadata": {"namespace": "n", "name": "d", "labels": {records.COMPONENT: "api"}, "managedFields": fields},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "shop"}}},
        "status": {"replicas": 3, "updatedReplicas": 1},
    }
    found = records.deployment_record(body)
    assert (found.component, found.replicas, found.writers) == ("api", 3, ("kubectl",))
    assert not found.updated
    assert records.selector_text(found.selector) == "app=shop"


def test_selectors() -> None:
    """Each operator, as Kubernetes has them."""
    assert Requirement("a", "In", ("x", "y")).admits({"a": "x"})
    assert not Requirement("a", "In", ("x",)).admits({})
    assert Requirement("a", "NotIn", ("x",)).admits({"a": "z"})
    assert Requirement("a", "Exists").admits({"a": ""})
    assert Requirement("a", "DoesNotExist").admits({})
    lines = (Requirement("a", "In", ("x", "y")), Requirement("b", "DoesNotExist"), Requirement("c", "NotIn", ("z",)))
    assert records.selector_text(lines) == "a in (x,y),!b,c notin (z)"


def test_an_autoscaler_and_its_owner() -> None:
    """KEDA's carries its ScaledObject."""
    target = {"scaleTargetRef": {"kind": "Deployment", "name": "shop-api"}}
    owner = [{"kind": "ScaledObject", "name": "shop"}]
    body = {"metadata": {"namespace": "n", "name": "keda-hpa-shop", "ownerReferences": owner}, "spec": target}
    found = records.hpa_record(body)
    assert (found.target, found.owner) == ("Deployment/shop-api", "ScaledObject/shop")


def test_a_pods_record_is_small() -> None:
    """At most 1 KiB each: 4000 of them are 4 MiB."""
    found = records.pod_record(pod(phase="Running", podIP="10.0.0.7"))
    size = sys.getsizeof(found) + sum(sys.getsizeof(getattr(found, name)) for name in type(found).__slots__)
    assert size <= 1024 + 256  # strings and small tuples; interned ones are shared
