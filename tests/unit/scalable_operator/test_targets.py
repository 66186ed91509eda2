"""Whose Deployment it is, and who else scales it."""

from __future__ import annotations

from dataclasses import replace

from scalable_operator import records, targets
from scalable_operator.records import DeploymentRecord, HpaRecord, Requirement
from scalable_operator.store import Store
from tests.unit.scalable_operator.test_records import api
from tests.unit.scalable_operator.test_store import POD

OLD = records.api_record(api({"components": [{"name": "api"}, {"name": "worker"}]}, creationTimestamp="2026-01-01"))
NEW = records.api_record(
    api(
        {"mode": "Manual", "components": [{"name": "api", "targetRef": {"name": "shop-api"}}]},
        uid="a",
        name="other",
        creationTimestamp="2026-01-02",
    )
)


def test_the_older_one_has_it() -> None:
    """By creation, whatever the uid; a component that this version does not run has no target."""
    assert targets.claims({"a": NEW, "u": OLD}) == {("n", "shop-api"): "u"}
    same = replace(NEW, created_at=OLD.created_at)
    assert targets.claims({"a": same, "u": OLD}) == {("n", "shop-api"): "a"}


def test_autoscalers_are_named_with_their_owner() -> None:
    """Those of this Deployment in this namespace."""
    store = Store()
    store.put(HpaRecord("n", "h", "1", "Deployment/shop-api", "ScaledObject/s"))
    store.put(HpaRecord("m", "h", "1", "Deployment/shop-api", ""))
    store.put(HpaRecord("n", "i", "1", "ScalableApi/shop", ""))
    assert targets.autoscalers(store, ("n", "shop-api")) == ("HorizontalPodAutoscaler/h of ScaledObject/s",)


def test_pods() -> None:
    """Starting until it was ready once; an ended one is no replica."""
    store = Store()
    deployment = DeploymentRecord(
        "n", "d", "api", "1", 1, updated=True, selector=(Requirement("app", "In", ("shop",)),), writers=()
    )
    store.put(POD)
    (first,) = targets.pods_of(store, deployment)
    assert first.starting
    store.put(replace(POD, ready=True, version="8"))
    store.put(replace(POD, ready=False, version="9"))
    (later,) = targets.pods_of(store, deployment)
    assert not later.starting
    store.put(replace(POD, phase="Failed", version="10"))
    assert targets.pods_of(store, deployment) == ()
