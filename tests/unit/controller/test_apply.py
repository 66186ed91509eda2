"""Carrying out: V0 to V6, un-drain, one decrease a second, nothing without an answer."""

from __future__ import annotations

import asyncio

from services.controller.apply import milli_text, sentence
from services.core.autoscale import Counts, Memory, Metric, Ring, Rules, Window, decide
from services.schema.snapshot import EndpointState
from tests.harness.wait import eventually
from tests.unit.controller.scene import API, Stage, spec


async def down(stage: Stage, minimum: int) -> None:
    """Let the controller settle, then ask for fewer."""
    await stage.seconds(8)
    stage.change(spec=spec(api={"minReplicas": minimum}))


async def one_leaves() -> Stage:
    """Three are busy, two are wanted: one is on its way out, and does not empty."""
    stage = Stage(api=3)
    stage.ports.says["api"] = {"in_flight": 7}
    stage.change(spec=spec(api={"minReplicas": 3}))
    await down(stage, 2)
    return stage


async def test_the_idlest_goes_once_it_is_empty():
    """Drained, looked away from (settle), idle twice, marked, scaled by exactly that one."""
    stage = Stage(api=3)
    stage.ports.says |= {"api": {"rps": 10.0, "in_flight": 2}}
    stage.change(spec=spec(api={"minReplicas": 3}))
    idle = stage.backend.workloads["api"].pods[1].name
    stage.ports.says[idle] = {"in_flight": 0}
    await down(stage, 2)
    await stage.seconds(1)
    assert f"drain {idle}" in stage.ports.calls
    assert not any(write.startswith("scale api") for write in stage.backend.writes)
    status = await stage.seconds(2)
    assert status.components[2].draining == 1
    await stage.seconds(6)
    assert stage.backend.writes[-2:] == [f"mark api {idle}", "scale api 2"]
    assert idle not in {pod.name for pod in stage.backend.workloads["api"].pods}
    assert "ScaledDown" in stage.reasons()


async def test_callers_that_look_away_spare_the_settle_time():
    """V2: every fresh balancer lists it draining: no wait for `settle`."""
    stage = Stage(api=3)
    stage.change(spec=spec(api={"minReplicas": 3, "drain": {"timeout": "60s", "settle": "60s"}}))
    names = [pod.name for pod in stage.backend.workloads["api"].pods]
    stage.ports.says["balancer"] = {"endpoints": tuple(EndpointState(name, "available") for name in names)}
    await stage.seconds(8)
    stage.change(spec=spec(api={"drain": {"timeout": "60s", "settle": "60s"}}))
    await stage.seconds(10)
    assert stage.count("api") == 3
    stage.ports.says["balancer"] = {"endpoints": tuple(EndpointState(name, "draining") for name in names)}
    await stage.seconds(4)
    assert stage.count("api") == 2


async def test_a_drain_that_does_not_empty_times_out():
    """DrainTimedOut names what is left, and it goes all the same."""
    stage = await one_leaves()
    await stage.seconds(13)
    event = next(e for e in stage.backend.events if e.reason == "DrainTimedOut")
    assert "7 in flight" in event.message
    assert stage.count("api") == 2


async def test_load_that_returns_brings_the_victim_back():
    """Un-drained in one round trip, before anything is started."""
    stage = await one_leaves()
    await stage.seconds(2)
    drained = next(call.split()[1] for call in stage.ports.calls if call.startswith("drain"))
    stage.ports.says["api"] = {"rps": 60.0, "in_flight": 7}
    await stage.seconds(6)
    assert f"undrain {drained}" in stage.ports.calls
    assert "Undrained" in stage.reasons()
    assert stage.count("api") == 3


async def test_a_victim_of_an_object_that_is_gone_serves_again():
    """Deleted while a pod drains: the pod is told at once, once, and nothing is scaled."""
    stage = await one_leaves()
    await stage.seconds(2)
    (drained,) = stage.ports.draining
    stage.backend.objects, before = {}, len(stage.backend.writes)
    await stage.controller.tick()
    await eventually(lambda: not stage.ports.draining, 1, "it serves again")
    await stage.controller.tick()
    assert stage.ports.calls[-1] == f"undrain {drained}"
    assert len(stage.backend.writes) == before


async def test_an_object_that_goes_during_its_visit_drains_nobody_afterwards():
    """The visit that was under way still drains; its victim serves again after that."""
    stage = await one_leaves()
    asked, answer, drain = asyncio.Event(), asyncio.Event(), stage.ports.drain

    async def slow(pods, token, epoch, *, on):
        if on:
            asked.set()
            await answer.wait()
        return await drain(pods, token, epoch, on=on)

    stage.ports.drain = slow  # type: ignore[method-assign]
    running = asyncio.ensure_future(stage.controller.run())
    stage.now_ms += 1000
    await asked.wait()
    stage.backend.objects = {}
    stage.backend.touch("uid-1")
    await eventually(lambda: not stage.controller.minds, 5, "it is forgotten")
    answer.set()
    await eventually(lambda: stage.ports.calls[-1].startswith("undrain"), 5, "it serves again")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not stage.ports.draining


async def test_a_victim_of_a_component_that_left_the_spec_serves_again():
    """Not ours any more: un-drained and forgotten."""
    stage = await one_leaves()
    await stage.seconds(2)
    assert stage.ports.draining
    stage.change(spec=spec(components=[{"name": "gateway"}, {"name": "balancer"}]))
    await stage.seconds(2)
    assert not stage.ports.draining
    assert set(stage.controller.minds["uid-1"].components) == {"gateway", "balancer"}


async def test_drains_are_renewed():
    """The mark would end by itself after 120 s: it is set again every 30 s."""
    stage = Stage(api=3)
    slow = {"drain": {"timeout": "5m", "settle": "0s"}}
    stage.ports.says["api"] = {"in_flight": 7}
    stage.change(spec=spec(api={"minReplicas": 3, **slow}))
    await stage.seconds(8)
    stage.change(spec=spec(api=slow))
    await stage.seconds(65)
    assert sum(call.startswith("drain") for call in stage.ports.calls) == 3


async def test_a_mute_victim_goes_after_its_time():
    """Its control port does not answer the drain: it is ended when `timeout` has passed."""
    stage = Stage(api=3)
    stage.change(spec=spec(api={"minReplicas": 3}))
    await stage.seconds(8)
    stage.ports.drain = _nobody  # type: ignore[method-assign]
    stage.change(spec=spec())
    await stage.seconds(9)
    assert stage.count("api") == 3
    await stage.seconds(3)
    assert stage.count("api") == 2


async def _nobody(_pods, _token, _epoch, *, on):
    del on
    return frozenset()


async def test_a_survivor_serves_again():
    """V6: the marked one stays, another went: VictimMissed, un-drained."""
    stage = Stage(api=3)
    stage.change(spec=spec(api={"minReplicas": 3}))
    await down(stage, 2)

    async def deaf(_api, _component, _pods):
        return await type(stage.backend).mark_victims(stage.backend, stage.api, "api", frozenset())

    stage.backend.mark_victims = deaf  # type: ignore[method-assign]
    workload = stage.backend.workloads["api"]
    stage.ports.says[workload.pods[0].name] = {"in_flight": 0}
    for pod in workload.pods[1:]:
        stage.ports.says[pod.name] = {"in_flight": 3}
    await stage.seconds(16)
    assert "VictimMissed" in stage.reasons()
    assert f"undrain {workload.pods[0].name}" in stage.ports.calls


async def test_a_conflict_is_decided_anew():
    """Somebody wrote in between: nothing is counted as done, the next tick does it."""
    stage = Stage()
    await stage.seconds(8)
    whole = stage.backend.scale

    async def once(found, component, replicas, seen):
        stage.backend.scale = whole  # type: ignore[method-assign]
        return await whole(found, component, replicas, seen + "9")

    stage.backend.scale = once  # type: ignore[method-assign]
    stage.ports.says["api"] = {"rps": 240.0}
    await stage.seconds(4)
    assert stage.count("api") == 8


async def test_a_gateway_waits_for_settle():
    """Whoever stands outside cannot be asked whether it looked away."""
    components = [{"name": "gateway", "minReplicas": 2, "drain": {"settle": "20s"}}]
    stage = Stage(gateway=2)
    stage.change(spec=spec(components=components, mode="Manual"))
    await stage.seconds(2)
    components = [{"name": "gateway", "replicas": 1, "drain": {"settle": "20s"}}]
    stage.change(spec=spec(components=components, mode="Manual"))
    await stage.seconds(19)
    assert stage.count("gateway") == 2
    await stage.seconds(5)
    assert stage.count("gateway") == 1


def test_the_sentence_names_the_leading_metric():
    """`api 4→16: …`; without a metric the reason alone."""
    ring = Ring(60_000)
    for second in range(60):
        ring.push(second * 1000, 320_000, 320_000)
    rules = Rules((Metric("in-flight", "sum", 20_000),), maximum=20)
    found = decide(59_000, Counts(ready=4, replicas=4), {"in-flight": Window(ring, 4, 4)}, rules, Memory(-(10**9)))
    assert sentence("api", found.record) == "api 4→16: in-flight 320, target 20 each, Panic"
    blind = decide(59_000, Counts(ready=0, replicas=0), {}, rules, Memory(-(10**9)))
    assert sentence("api", blind.record) == "api 0→1: AtMinimum"
    assert [milli_text(value) for value in (72_500, 20_000, 1)] == ["72.5", "20", "0.001"]


async def test_a_gateway_with_stale_tiers_goes_first():
    """Of two, the one that does not take the document goes, though it has more to do."""
    stage = Stage(gateway=2)
    stage.change(spec=_gateways(2))
    late, other = (pod.name for pod in stage.backend.workloads["gateway"].pods)
    stage.ports.refuses = {late}
    stage.ports.says[late] = {"in_flight": 0, "rps": 1.0}
    stage.ports.says[other] = {"in_flight": 0}
    await stage.seconds(10)
    stage.change(spec=_gateways(1))
    await stage.seconds(3)
    assert f"drain {late}" in stage.ports.calls
    assert f"drain {other}" not in stage.ports.calls


def _gateways(minimum: int):
    gateway = {**API, "name": "gateway", "minReplicas": minimum}
    return spec(components=[gateway, {"name": "balancer"}])


async def test_marks_of_a_leader_before_us_are_cleared_on_the_first_tick():
    """They would choose who goes; cleared once, and nothing is written where none are."""
    stage = Stage()
    await stage.seconds(2)
    assert not any(write.startswith("mark") for write in stage.backend.writes)
    stage.backend.marked["api"] = frozenset({"api-3"})
    stage.restart()
    await stage.seconds(2)
    assert [write for write in stage.backend.writes if write.startswith("mark")] == ["mark api "]
