"""A tick: what is read, decided, done and written, over the fakes and in virtual time."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest

from services.controller import loop
from services.controller.backend import RetryAfter
from services.schema.scalable_api import ScalableApiSpec
from services.schema.snapshot import BreakerState, LimiterState
from tests.harness.any_spec import anything, plain
from tests.harness.wait import eventually
from tests.unit.controller.scene import START_MS, Stage, api, spec


async def test_a_first_visit_reports_everything():
    """All conditions from the start, sorted; the document written and acknowledged; Ready."""
    stage = Stage()
    status = await stage.seconds(2)
    kinds = [condition.type for condition in status.conditions]
    assert kinds == sorted(kinds)
    assert len(kinds) == 11
    assert stage.condition("Ready").status == "True"
    assert (status.summary.tiers, status.summary.api, status.summary.circuits) == ("r1 2/2", "2/2", "closed")
    assert stage.backend.writes[0] == "record r1 RollingOut"
    assert "TiersRotated" in stage.reasons()


async def test_at_rest_nothing_is_written():
    """An idle object costs no write at all."""
    stage = Stage()
    await stage.seconds(10)
    before = (len(stage.backend.published), len(stage.backend.writes))
    await stage.seconds(49)
    assert (len(stage.backend.published), len(stage.backend.writes)) == before


async def test_a_step_of_load_is_written_within_three_ticks():
    """4 x the target: scaled, with the reason in the status and an event."""
    stage = Stage()
    await stage.seconds(10)
    stage.ports.says["api"] = {"rps": 240.0}
    await stage.seconds(3)
    assert stage.count("api") >= 4
    assert any(write.startswith("scale api") for write in stage.backend.writes)
    assert next(e for e in stage.backend.events if e.reason == "ScaledUp").message.startswith("api 2→")


async def test_missing_pods_lower_nothing_and_are_named():
    """Mute control ports: no decrease, Degraded, then the fallback."""
    stage = Stage(api=4)
    stage.ports.says["api"] = {"rps": 58.0}
    await stage.seconds(10)
    stage.ports.mute = {pod.name for pod in stage.backend.workloads["api"].pods}
    await stage.seconds(5)
    assert stage.condition("Degraded").reason == "PodsUnreachable"
    await stage.seconds(40)
    assert stage.condition("Degraded").reason == "FallbackActive"
    assert stage.condition("ScalingActive").reason == "FallbackActive"
    assert (stage.count("api"), "FallbackActivated" in stage.reasons()) == (4, True)
    stage.ports.mute.clear()
    await stage.seconds(4)
    assert "FallbackDeactivated" in stage.reasons()


async def test_a_breaker_is_written_at_once_unless_they_flap():
    """Within the tick; above ten such writes in a minute every five seconds."""
    stage = Stage()
    await stage.seconds(10)
    opened = BreakerState("api-1", "open", "2026-01-01T00:00:00.000Z", "5 failures")
    stage.ports.says["balancer"] = {"breakers": (opened,)}
    await stage.seconds(1)
    assert (stage.status.circuits.open, stage.condition("CircuitsClosed").reason) == (1, "CircuitOpen")
    assert "CircuitOpened" in stage.reasons()
    before = len(stage.backend.published)
    for second in range(40):
        more = tuple(BreakerState(f"api-{n}", "half-open", "t") for n in range(2 + second % 2))
        stage.ports.says["balancer"] = {"breakers": (opened, *more)}
        await stage.seconds(1)
    assert len(stage.backend.published) - before <= 10 + 40 // 5 + 1


async def test_an_invalid_text_is_told_and_the_last_spec_stays():
    """ConfigRejected once; Stalled; decisions go on."""
    stage = Stage()
    await stage.seconds(2)
    stage.change(generation=1, errors=("line 3: spec: wrong",))
    await stage.seconds(3)
    assert stage.condition("Accepted").reason == "Invalid"
    assert stage.condition("Stalled").status == "True"
    assert stage.condition("Ready").reason == "SpecInvalid"
    assert stage.reasons().count("ConfigRejected") == 1


async def test_without_any_accepted_spec_all_is_held():
    """Nothing is decided, scaled or pushed; the status says why."""
    stage = Stage(api(spec=None, errors=("line 1: no",)))
    await stage.seconds(3)
    assert stage.backend.writes == []
    assert stage.condition("Accepted").message == "line 1: no"


async def test_reconcile_disabled_writes_only_status():
    """The annotation stops every act, not the sight."""
    stage = Stage(api(annotations={"scalableapi.io/reconcile": "disabled"}))
    stage.ports.says["api"] = {"rps": 240.0}
    await stage.seconds(5)
    assert (stage.backend.writes, stage.ports.calls) == ([], [])
    assert stage.condition("Paused").reason == "ReconcileDisabled"


async def test_force_reconcile_compares_everything_anew():
    """A new value of the annotation: the status is written though nothing turned, the record read again; then rest."""
    stage = Stage()
    await stage.seconds(10)
    before, ready = len(stage.backend.published), stage.condition("Ready")
    stage.change(generation=1, annotations={"scalableapi.io/force-reconcile": "1"})
    await stage.seconds(3)
    assert (len(stage.backend.published), stage.condition("Ready")) == (before + 1, ready)
    assert stage.status.tiers.active_revision == 1


async def test_a_pause_is_told():
    """Paused and Resumed; the summary and the condition name what stands still."""
    stage = Stage()
    await stage.seconds(1)
    stage.change(spec=spec(paused={"scaleUp": True}))
    stage.ports.says["api"] = {"rps": 240.0}
    await stage.seconds(5)
    assert (stage.count("api"), stage.status.summary.paused) == (2, "up")
    assert stage.condition("Paused").reason == "ScalingPaused"
    assert stage.condition("ScalingActive").reason == "Paused"
    stage.change(spec=spec())
    await stage.seconds(2)
    assert [r for r in stage.reasons() if r in {"Paused", "Resumed"}] == ["Paused", "Resumed"]


async def test_a_refused_token_is_read_again_every_ten_seconds():
    """401: Accepted=False, and the secret's home is asked, not hammered."""
    stage = Stage()
    asked = []

    async def token(_api, *, refresh):
        asked.append(refresh)
        return "t"

    stage.backend.token = token  # type: ignore[method-assign]
    stage.ports.unauthorized = True
    await stage.seconds(12)
    assert stage.condition("Accepted").reason == "ControlTokenUnavailable"
    assert asked.count(True) == 2


async def test_a_limiter_without_its_store_is_degraded():
    """StoreDegraded while a gateway says so."""
    stage = Stage()
    stage.ports.says["gateway"] = {"limiter": LimiterState("local", degraded=True)}
    await stage.seconds(1)
    assert stage.condition("Degraded").reason == "StoreDegraded"


async def test_a_record_that_cannot_be_stored_is_not_pushed():
    """Written first, pushed second: without the one the other does not happen."""
    stage = Stage()

    async def busy(*_args):
        return RetryAfter(1)

    stage.backend.write_record = busy  # type: ignore[method-assign]
    await stage.seconds(3)
    assert not any(call.startswith("push") for call in stage.ports.calls)


async def test_a_failing_tick_does_not_end_the_loop(monkeypatch):
    """Logged; the next one starts from what is there; objects that went are forgotten."""
    stage = Stage()
    whole = stage.backend.fleet

    def broken(_api):
        raise OSError("no")

    stage.backend.fleet = broken  # type: ignore[method-assign]
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(loop, "log", SimpleNamespace(exception=lambda event, **_: said.append(event)))
        await stage.controller.tick()
    assert said == ["tick failed"]
    stage.backend.fleet = whole  # type: ignore[method-assign]
    await stage.seconds(1)
    assert stage.status.summary.api == "2/2"
    stage.backend.objects = {}
    await stage.seconds(1)


async def test_the_loop_ticks_until_cancelled(monkeypatch):
    """A change wakes it early, and changes are taken together."""
    stage = Stage()
    monkeypatch.setattr(loop, "BATCH_S", 0.001)
    monkeypatch.setattr(loop, "TICK_S", 0.002)
    stage.backend.touch("uid-1")
    running = asyncio.get_running_loop().create_task(stage.controller.run())
    await eventually(lambda: stage.backend.published, 5, "a tick", every_s=0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_change_starts_only_its_own_objects_visit(monkeypatch):
    """Ticks are a second apart; an event's object is visited after the batch, the others wait for their second."""
    stage = Stage()
    stage.backend.objects = {name: api(key=name, name=name) for name in ("a", "b")}
    seen: list[str] = []
    monkeypatch.setattr(loop, "BATCH_S", 0.001)
    monkeypatch.setattr(loop, "TICK_S", 60.0)
    whole = stage.backend.token

    async def token(found, *, refresh):
        seen.append(found.name)
        return await whole(found, refresh=refresh)

    stage.backend.token = token  # type: ignore[method-assign]
    running = asyncio.get_running_loop().create_task(stage.controller.run())
    await eventually(lambda: sorted(seen) == ["a", "b"], 5, "the first visits", every_s=0.001)
    stage.backend.touch("b")
    await eventually(lambda: len(seen) == 3, 5, "the third visit", every_s=0.001)
    assert seen[2] == "b"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_objects_are_visited_side_by_side_but_never_one_twice_at_once(monkeypatch):
    """64 at a time; a change during a visit is followed by another visit; cancelling lets visits end."""
    stage = Stage()
    stage.backend.objects = {str(n): api(key=str(n), name=str(n)) for n in range(100)}
    monkeypatch.setattr(loop, "BATCH_S", 0.001)
    monkeypatch.setattr(loop, "TICK_S", 60.0)
    now: dict[str, int] = {}
    done: list[str] = []
    most, go = 0, asyncio.Event()

    async def token(found, *, refresh):
        nonlocal most
        del refresh
        now[found.name] = now.get(found.name, 0) + 1
        most = max(most, sum(now.values()))
        assert now[found.name] == 1
        await go.wait()
        now[found.name] -= 1
        done.append(found.name)
        return "t"

    stage.backend.token = token  # type: ignore[method-assign]
    running = asyncio.get_running_loop().create_task(stage.controller.run())
    await eventually(lambda: most == loop.PARALLEL, 5, "64 visits", every_s=0.001)
    stage.backend.touch("0")
    await eventually(lambda: "0" in stage.controller._again, 5, "the change is kept", every_s=0.001)
    go.set()
    await eventually(lambda: len(done) == 101, 5, "all visits", every_s=0.001)
    assert (most, done.count("0")) == (loop.PARALLEL, 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_the_clock_is_steady():
    """Milliseconds since 1970, never backwards."""
    clock = loop.steady_clock()
    first, second = clock(), clock()
    assert START_MS - 10**12 < first <= second


@pytest.mark.timeout(300)
async def test_a_spec_that_comes_back_ends_as_it_was():
    """Two hundred specs A → B → A: status, document, counts and marks are in the end those of A alone, wherever B was left."""
    draw = random.Random(20261124)
    for number in range(200):
        first, other = (make(draw, ("gateway", "balancer", "api")) for make in (plain, anything))
        stage = Stage(api(spec=ScalableApiSpec.model_validate(first)))
        await stage.seconds(10)
        alone = outcome(stage)
        assert alone["conditions"]["Progressing"] == ("False", "Settled")
        stage.change(spec=ScalableApiSpec.model_validate(other))
        await stage.seconds(draw.randint(1, 12))
        stage.change(spec=ScalableApiSpec.model_validate(first))
        for _ in range(60):
            await stage.seconds(1)
            again = outcome(stage)
            if again == alone:
                break
        assert {k: (alone[k], again[k]) for k in alone if alone[k] != again[k]} == {}, (number, first, other)


def outcome(stage: Stage) -> dict[str, Any]:
    """Without times, revisions, and what is told of the past."""
    status, backend, record = stage.status, stage.backend, stage.backend.record
    assert record is not None
    assert record.active is not None
    tiers = status.tiers
    pods = {pod.name for workload in backend.workloads.values() for pod in workload.pods}
    return {
        "conditions": {c.type: (c.status, c.reason) for c in status.conditions},
        "components": [(c.name, c.mode, c.desired, c.current, c.ready, c.min, c.max) for c in status.components],
        "tiers": (tiers.phase, tiers.active_hash, tiers.pods, tiers.pending, tiers.canary, tiers.shadow),
        "record": (record.phase, record.active.spec, record.candidate),
        "counts": {name: workload.replicas for name, workload in backend.workloads.items()},
        "marked": [pod for marked in backend.marked.values() for pod in marked & pods],
        "draining": stage.ports.draining & pods,
        "stale": {
            name for name in pods & stage.ports.enforced.keys() if stage.ports.enforced[name].hash != tiers.active_hash
        },
    }
