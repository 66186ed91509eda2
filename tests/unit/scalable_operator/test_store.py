"""The store: newest record wins, whom a change concerns is dirty."""

from __future__ import annotations

from dataclasses import replace

from scalable_operator import records
from scalable_operator.records import Requirement
from scalable_operator.store import Store
from tests.unit.scalable_operator.test_records import api, pod

OURS = records.api_record(api({"components": [{"name": "api"}]}))
POD = replace(records.pod_record(pod(phase="Running")), labels=(("app", "shop"), ("x", "1")), version="7")
APP = (Requirement("app", "In", ("shop",)),)


async def test_only_what_asks_for_something_makes_dirty() -> None:
    """A generation, an annotation, a deletion; our own status write does not."""
    store = Store()
    store.put(OURS)
    assert await store.changed(0) == {"u"}
    store.put(replace(OURS, status="another", version="6"))
    assert await store.changed(0.01) == set()
    store.put(replace(OURS, generation=3, version="7"))
    assert await store.changed(0) == {"u"}


async def test_pods_wake_their_namespace() -> None:
    """A pod of n concerns n's objects."""
    store = Store()
    store.put(OURS)
    await store.changed(0)
    store.put(replace(POD, namespace="other"))
    assert await store.changed(0.01) == set()
    store.put(POD)
    assert await store.changed(0) == {"u"}


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
