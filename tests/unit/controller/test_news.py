"""Events that begin once, however long their reason lasts."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.controller.scene import Stage, api, spec


async def test_a_count_outside_manual_is_ignored_and_said_so():
    """`kubectl scale` in mode Auto: Event ScaleIgnored; in mode Manual it is the count."""
    stage = Stage()
    await stage.seconds(1)
    stage.change(spec=spec(replicas=5))
    await stage.seconds(2)
    event = next(e for e in stage.backend.events if e.reason == "ScaleIgnored")
    assert (event.message, stage.count("api")) == ("spec.replicas is 5; in mode Auto it is not used", 2)
    stage.change(spec=spec(replicas=4, mode="Manual"))
    await stage.seconds(2)
    assert (stage.reasons().count("ScaleIgnored"), stage.count("api")) == (1, 4)


async def test_what_a_pause_holds_back_is_told_once():
    """ScaleSuppressed, with what would have been done."""
    stage = Stage()
    stage.change(spec=spec(paused={"scaleUp": True}))
    stage.ports.says["api"] = {"rps": 240.0}
    await stage.seconds(10)
    events = [e for e in stage.backend.events if e.reason == "ScaleSuppressed"]
    assert [e.message for e in events] == ["api 2→8 is held back: paused up"]


async def test_a_rival_is_named_once():
    """An autoscaler on our workload in mode Auto: Conflicted, no scaling; in Recommend both live side by side."""
    stage = Stage()
    workload = stage.backend.workloads["api"]
    stage.backend.workloads["api"] = replace(workload, rivals=("HorizontalPodAutoscaler shop-api",))
    stage.ports.says["api"] = {"rps": 240.0}
    await stage.seconds(5)
    events = [e for e in stage.backend.events if e.reason == "Conflicted"]
    assert [e.message for e in events] == ["api: HorizontalPodAutoscaler shop-api scales it too; we do not"]
    assert (stage.condition("Accepted").reason, stage.count("api")) == ("Conflicted", 2)
    stage.change(spec=spec(api={"mode": "Recommend"}))
    await stage.seconds(1)
    assert (stage.condition("Accepted").reason, stage.count("api")) == ("Accepted", 2)


async def test_another_object_has_our_workload():
    """The older one goes on; this one acts on nothing and says who it is."""
    stage = Stage(api(conflict="ScalableApi other has Deployment shop-api"))
    stage.ports.says["api"] = {"rps": 240.0}
    await stage.seconds(3)
    assert (stage.backend.writes, stage.condition("Accepted").reason) == ([], "Conflicted")
    assert stage.condition("Ready").reason == "Conflicted"
    assert stage.reasons().count("Conflicted") == 1
