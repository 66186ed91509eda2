"""The store: newest record wins, whom a change concerns is dirty."""

from __future__ import annotations

from dataclasses import replace

from scalable_operator import records
from scalable_operator.records import ConfigMapRecord, DeploymentRecord, HpaRecord, Requirement
from scalable_operator.store import Record, Store
from tests.unit.scalable_operator.test_records import api, pod

OURS = records.api_record(api({"components": [{"name": "api"}]}))
POD = replace(records.pod_record(pod(phase="Running")), labels=(("app", "shop"), ("x", "1")), version="7")
APP = (Requirement("app", "In", ("shop",)),)
OTHER = replace(OURS, uid="v", name="else")
DEPLOYMENT = DeploymentRecord("n", "shop-api", "api", "1", 1, updated=True, selector=APP, writers=())
HPA = HpaRecord("n", "h", "1", "Deployment/shop-api", "")


async def test_only_what_asks_for_something_makes_dirty() -> None:
    """A generation, an annotation, a deletion; our own status write does not."""
    store = Store()
    store.put(OURS)
    assert await store.changed(0) == {"u"}
    store.put(replace(OURS, status="another", version="6"))
    assert await store.changed(0.01) == set()
    store.put(replace(OURS, generation=3, version="7"))
    assert await store.changed(0) == {"u"}


async def test_a_change_wakes_whom_it_concerns() -> None:
    """A Deployment, its pods and its autoscalers concern the object that asks for it, and no other of the namespace."""
    store = Store()
    for known in (OURS, OTHER, DEPLOYMENT):
        store.put(known)
    await store.changed(0)
    concerning: tuple[Record, ...] = (POD, HPA, replace(DEPLOYMENT, replicas=3, version="2"))
    for record in concerning:
        store.put(record)
        assert await store.changed(0) == {"u"}
    store.put(replace(POD, namespace="other"))
    store.put(replace(POD, name="stray", uid="q", labels=(("app", "other"),)))
    store.put(ConfigMapRecord("n", "shop-tiers", "1", "digest"))
    assert await store.changed(0.01) == set()
    for record in concerning:
        store.drop(record)
        assert await store.changed(0) == {"u"}
    assert store.missing() == {("n", "shop-api"), ("n", "else-api")}


def test_the_older_one_has_a_deployment() -> None:
    """By creation, then by uid; once it goes the other has it, and both are asked anew at each turn."""
    store, shared = Store(), ("n", "shop-api")
    old, new = replace(OURS, created_at="2026-01-01"), replace(OURS, uid="a", created_at="2026-01-02")
    for record in (new, old):
        store.put(record)
    assert store.claimant(shared) == old
    assert store.asked == {"a", "u"}
    store.asked.clear()
    store.put(replace(new, created_at="2026-01-01", generation=9, version="9"))
    assert (store.claimant(shared) or old).uid == "a"
    store.put(replace(old, deleting=True, version="9"))
    store.drop(old)
    assert store.asked == {"a", "u"}
    assert (store.claimant(shared) or old).uid == "a"


def test_an_older_record_is_not_believed() -> None:
    """The answer to a write is newer than the watch event that comes after it."""
    store = Store()
    store.put(replace(POD, cost="-1000", version="10"))
    store.put(replace(POD, cost="", version="9"))
    assert store.pods["n", "shop-api-1"].cost == "-1000"


def test_a_refused_spec_leaves_the_last_accepted_one() -> None:
    """With the new errors beside it."""
    store = Store()
    store.put(OURS)
    store.put(replace(OURS, spec=None, errors=("no",), generation=3, version="6"))
    kept = store.apis["u"]
    assert kept.spec == OURS.spec
    assert kept.errors == ("no",)


def test_pods_are_found_by_their_labels() -> None:
    """By every line of the selector; gone ones are not found, an empty selector finds none."""
    store = Store()
    store.put(POD)
    store.put(replace(POD, name="other", uid="q", labels=(("app", "other"),)))
    assert [found.name for found in store.selected("n", APP)] == ["shop-api-1"]
    assert list(store.selected("n", (*APP, Requirement("x", "NotIn", ("1",))))) == []
    assert list(store.selected("n", ())) == []
    store.drop(POD)
    assert list(store.selected("n", APP)) == []


def test_a_pod_that_was_ready_once_is_remembered() -> None:
    """It is not starting when it is unready later."""
    store = Store()
    store.put(replace(POD, ready=True))
    store.put(replace(POD, ready=False, version="8"))
    assert store.ever_ready == {"p"}
    store.drop(POD)
    assert store.ever_ready == set()
