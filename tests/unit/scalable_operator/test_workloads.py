"""A Deployment as the controller sees it."""

from __future__ import annotations

from dataclasses import replace

from scalable_operator.records import DeploymentRecord, HpaRecord, Requirement
from scalable_operator.store import Store
from scalable_operator.workloads import SCALE_MANAGER, workload
from tests.unit.scalable_operator.test_store import APP, POD

DEPLOYMENT = DeploymentRecord(
    "n", "shop-api", "api", "1", 3, updated=True, selector=APP, writers=("kubectl", SCALE_MANAGER)
)


def test_what_the_deployment_says() -> None:
    """Its number, and who else wrote it."""
    found = workload(Store(), DEPLOYMENT)
    assert (found.replicas, found.seen, found.target, found.writer) == (3, "1", "Deployment/shop-api", "kubectl")


def test_autoscalers_are_named_with_their_owner() -> None:
    """Those of this Deployment in this namespace, as long as they are there."""
    store, hpa = Store(), HpaRecord("n", "h", "1", "Deployment/shop-api", "ScaledObject/s")
    store.put(hpa)
    store.put(HpaRecord("m", "h", "1", "Deployment/shop-api", ""))
    store.put(HpaRecord("n", "i", "1", "ScalableApi/shop", ""))
    assert workload(store, DEPLOYMENT).rivals == ("HorizontalPodAutoscaler/h of ScaledObject/s",)
    store.put(replace(hpa, target="Deployment/another", version="2"))
    assert workload(store, DEPLOYMENT).rivals == ()


def test_pods() -> None:
    """Starting until it was ready once; an ended one is no replica."""
    store = Store()
    store.put(POD)
    (first,) = workload(store, DEPLOYMENT).pods
    assert first.starting
    store.put(replace(POD, ready=True, version="8"))
    store.put(replace(POD, ready=False, version="9"))
    (later,) = workload(store, DEPLOYMENT).pods
    assert not later.starting
    store.put(replace(POD, phase="Failed", version="10"))
    assert workload(store, DEPLOYMENT).pods == ()


def test_a_selector_without_an_equality() -> None:
    """Every pod of the namespace is looked at."""
    store = Store()
    store.put(POD)
    either = (Requirement("app", "In", ("shop", "other")),)
    assert [pod.name for pod in workload(store, replace(DEPLOYMENT, selector=either)).pods] == ["shop-api-1"]
    assert workload(store, replace(DEPLOYMENT, selector=())).pods == ()
