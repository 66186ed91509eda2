"""Somebody writes our workload's replicas: put back, told, and after the third time left alone for five minutes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.controller.backend import Workload
from services.controller.overwrites import SPAN_MS, Claim, rivals
from tests.unit.controller.scene import Stage, api, spec


def write_over(stage: Stage, replicas: int) -> None:
    workload = stage.backend.workloads["api"]
    stage.backend.workloads["api"] = replace(workload, replicas=replicas, seen=str(int(workload.seen) + 1))


async def test_a_foreign_number_is_put_back_on_the_next_tick():
    """Event ReplicasOverwritten names both; nothing else is decided on it."""
    stage = Stage(api=4)
    stage.ports.says["api"] = {"rps": 60.0}
    await stage.seconds(2)
    write_over(stage, 1)
    await stage.seconds(1)
    assert stage.backend.workloads["api"].replicas == 4
    event = next(e for e in stage.backend.events if e.reason == "ReplicasOverwritten")
    assert event.message == "api: somebody wrote 1 replicas over 4; put back"


async def test_the_third_time_is_a_conflict_until_five_minutes_pass_in_peace():
    """Accepted, ScalingActive, Ready and Stalled say Conflicted; nothing is scaled; then it is ours again."""
    stage = Stage(api=4)
    stage.ports.says["api"] = {"rps": 60.0}
    await stage.seconds(2)
    for _ in range(3):
        write_over(stage, 3)
        await stage.seconds(2)
    assert stage.backend.workloads["api"].replicas == 3
    for kind, status in (("Accepted", "False"), ("ScalingActive", "False"), ("Ready", "False"), ("Stalled", "True")):
        assert (stage.condition(kind).status, stage.condition(kind).reason) == (status, "Conflicted")
    assert stage.reasons().count("Conflicted") == 1
    assert stage.condition("Accepted").message == "api: somebody else writes its replicas"
    stage.now_ms += SPAN_MS
    await stage.seconds(2)
    assert stage.condition("Accepted").reason == "Accepted"


@pytest.mark.parametrize("members", [{"mode": "Recommend"}, {"mode": "Manual"}])
async def test_where_the_count_is_not_ours_nobody_is_corrected(members):
    """Recommend beside an autoscaler, Manual without a number: what is there holds."""
    stage = Stage(api=4)
    stage.change(spec=spec(api=members))
    await stage.seconds(2)
    write_over(stage, 3)
    await stage.seconds(2)
    assert stage.backend.workloads["api"].replicas == 3
    assert "ReplicasOverwritten" not in stage.reasons()


async def test_while_reconcile_is_disabled_everybody_may_write():
    """Nothing is put back, then or when it is ours again."""
    stage = Stage(api(annotations={"scalableapi.io/reconcile": "disabled"}), api=4)
    await stage.seconds(2)
    write_over(stage, 3)
    await stage.seconds(2)
    stage.change(generation=1)
    await stage.seconds(2)
    assert stage.backend.workloads["api"].replicas == 3
    assert "ReplicasOverwritten" not in stage.reasons()


def test_an_old_view_is_no_foreign_write():
    """The version we wrote from may be seen for a while after the write."""
    claim = Claim()
    claim.look(0, Workload(2, "7", "D/api"), ours=True)
    claim.wrote(5, "7")
    claim.look(1, Workload(2, "7", "D/api"), ours=True)
    assert claim.found is None
    claim.look(2, Workload(5, "8", "D/api"), ours=True)
    assert claim.found is None
    claim.look(3, Workload(2, "9", "D/api"), ours=True)
    assert claim.found == 2


def test_rivals_are_named():
    """An autoscaler by its name; a contest without one."""
    assert rivals(Workload(1, "1", "D/api", rivals=("HPA shop",)), Claim()) == "HPA shop scales it too"
    assert rivals(Workload(1, "1", "D/api"), Claim()) == ""


def test_one_foreign_write_counts_once() -> None:
    """However often putting it back is refused: the store had changed in between, the number had not."""
    claim = Claim()
    claim.look(0, Workload(2, "1", "t"), ours=True)
    for moment in range(1, 5):
        claim.look(moment, Workload(7, str(moment + 1), "t"), ours=True)
    assert claim.found == 7
    assert len(claim.times) == 1
    assert not claim.contested
