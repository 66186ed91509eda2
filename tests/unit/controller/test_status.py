"""The status: its size, its cells, what is shown of decisions."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from services.controller.status import MAX_BYTES, shown, trimmed
from services.schema.status import (
    Change,
    Circuit,
    Circuits,
    ComponentStatus,
    Status,
    TierHistory,
    TierPods,
    TiersStatus,
)
from tests.unit.controller.scene import Stage, spec

CHANGE = Change(time="2026-11-24T10:00:02.000Z", from_=4, to=16, reason="LoadAboveTarget", metric="m" * 32)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10), st.integers(0, 32), st.integers(0, 10), st.integers(0, 5))
def test_p16_at_most_16_kib_trimmed_in_order(decisions, items, stale, history):
    """Decisions go first, then circuits beyond 16, stale names, history; equal inputs give equal bytes."""
    circuit = Circuit(name="n" * 250, component="balancer", state="Open", pods="1/1", since="t", reason="r" * 64)
    past = TierHistory(revision=1, hash="sha256:" + "0" * 64, at="t", outcome="Enforced")
    components = [ComponentStatus(name=n, mode="Auto", target="x", decisions=(CHANGE,) * decisions) for n in "abc"]
    status = Status(
        components=tuple(components),
        circuits=Circuits(open=items, items=(circuit,) * items),
        tiers=TiersStatus(pods=TierPods(stale=("p" * 60,) * stale), history=(past,) * history),
    )
    small = trimmed(status)
    text = small.model_dump_json(by_alias=True, exclude_none=True)
    assert len(text.encode()) <= MAX_BYTES
    assert text == trimmed(status).model_dump_json(by_alias=True, exclude_none=True)
    if len(small.circuits.items) < items:
        assert small.components[0].decisions == ()


async def test_cells_and_times():
    """ready/current, →desired while they differ; changes newest first; the last scale's time."""
    stage = Stage(api=2)
    await stage.seconds(8)
    stage.ports.says["api"] = {"rps": 240.0}
    cells = [(await stage.seconds(1)).summary.api for _ in range(5)]
    assert cells[-1] == "8/8"
    assert any("→" in cell for cell in cells)
    status = stage.status
    assert status.last_scale_time == status.components[2].decisions[0].time
    assert status.components[2].decisions[0].metric == "rps"
    decision = status.components[2].last_decision
    assert decision is not None
    assert (decision.final, decision.direction) == (8, "Up")  # the move stays visible


async def test_a_missing_workload_has_a_line():
    """A component without a workload is shown as such; a worker, which this version does not run, is not missed."""
    stage = Stage()
    del stage.backend.workloads["api"]
    stage.change(spec=spec(components=[{"name": "gateway"}, {"name": "api"}, {"name": "worker"}]))
    status = await stage.seconds(1)
    assert "shop-api" in stage.condition("Accepted").message
    assert "worker" not in stage.condition("Accepted").message
    assert stage.condition("Available").reason == "MinimumReplicasUnavailable"
    assert (status.components[1].target, status.summary.worker) == ("-", "-")


async def test_while_nothing_moves_a_decision_is_shown_once_a_minute():
    """The gist changed without a move: not before 60 s are over."""
    stage = Stage()
    await stage.seconds(1)
    first = stage.status.components[2].last_decision
    await stage.seconds(20)
    assert stage.status.components[2].last_decision == first
    await stage.seconds(45)
    later = stage.status.components[2].last_decision
    assert later is not None
    assert first is not None
    assert later.reason != first.reason


@given(st.lists(st.tuples(st.sampled_from(["gateway", "balancer", "api"]), st.integers(0, 500)), max_size=12))
def test_p16_equal_inputs_give_equal_bytes(loads):
    """Two controllers that saw the same publish the same text, whatever the load did."""

    async def published() -> list[str]:
        stage = Stage()
        stage.change(spec=spec(budget={"maxReplicaHours": 500}))
        for component, rps in loads:
            stage.ports.says[component] = {"rps": float(rps)}
            await stage.seconds(1)
        return [status.model_dump_json(by_alias=True) for status in stage.backend.published]

    first, second = asyncio.run(published()), asyncio.run(published())
    assert first == second
    assert all(len(text.encode()) <= 16 * 1024 for text in first)


async def test_what_is_kept_tells_statuses_apart():
    """Equal ones are kept as equals; a message that nobody sorts by is a difference too."""
    stage = Stage(api=2)
    await stage.seconds(3)
    status = stage.status
    other = status.conditions[0].model_copy(update={"message": "other"})
    changed = status.model_copy(update={"conditions": (other, *status.conditions[1:])})
    assert shown(status) == shown(status.model_copy(deep=True))
    assert shown(changed).turned == shown(status).turned
    assert shown(changed) != shown(status)
    assert shown(status).conditions[0] == (other.type, other.status, other.last_transition_time)
    assert shown(status).replicas[-1] == ("api", 2, 2, 2, 8, 2)
