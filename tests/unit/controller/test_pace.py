"""The budget of polls, and which pods a visit asks."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.controller.backend import Pod
from services.controller.mind import Mind
from services.controller.pace import Load, Pace, chosen, pace, rounds
from services.controller.visit import load_of
from tests.unit.controller.scene import Stage

DRAWS = random.Random(1)


@pytest.mark.parametrize(
    ("loads", "expected"),
    [
        ([], Pace(1.0, 50)),
        ([Load((400,))], Pace(1.0, 50)),  # a sample of 50
        ([Load((4,), idle=True)] * 125, Pace(1.0, 50)),
        ([Load((4,), idle=True)] * 1000, Pace(8.0, 50)),
        ([Load((4,))] * 100 + [Load((4,), idle=True)] * 100, Pace(4.0, 50)),
        ([Load((50,))] * 20, Pace(1.0, 10)),
        ([Load((50,))] * 20 + [Load((50,), idle=True)] * 60, Pace(2.0, 10)),
        ([Load((50,))] * 51, Pace(15.0, 10)),
    ],
)
def test_the_budget(loads, expected):
    """500 a second: idle objects wait first, up to 15 s; then samples shrink to 10."""
    assert pace(loads, 500) == expected


@given(st.integers(0, 400), st.sampled_from([10, 50]))
def test_every_pod_is_asked_within_its_rounds(count, sample):
    """At most `sample` a visit, and none is forgotten."""
    pods = [Pod(f"p{n}", f"p{n}", "Running") for n in range(count)]
    asked: dict[str, int] = {}
    for visit in range(rounds(count, sample)):
        found = chosen(pods, sample, asked, (), DRAWS)
        assert len(found) <= max(sample, min(count, sample))
        asked |= dict.fromkeys((pod.uid for pod in found), visit)
    assert len(asked) == count


def test_who_leaves_is_asked_every_time():
    """A drain is not slowed by the sample."""
    pods = [Pod(f"p{n}", f"p{n}", "Running") for n in range(60)]
    found = chosen(pods, 10, {"p59": 99}, {"p59"}, DRAWS)
    assert "p59" in {pod.uid for pod in found}


async def test_a_large_component_is_known_by_a_sample():
    """120 pods, 50 asked a visit: the mean stands for all, and the load is followed within a few seconds."""
    stage = Stage(api=120)
    stage.change(spec=stage.api.spec and stage.api.spec.model_copy(update={"components": (_large(stage),)}))
    stage.ports.says["api"] = {"rps": 60.0}
    for _ in range(12):
        await stage.seconds(1)
        assert stage.ports.polled <= 50 + 2
    assert stage.count("api") == 120
    stage.ports.says["api"] = {"rps": 90.0}
    await stage.seconds(4)
    assert stage.count("api") > 120
    api = next(c for c in stage.status.components if c.name == "api")
    assert api.last_decision is not None
    heard, _, ready = api.last_decision.metrics[0].coverage.partition("/")
    assert heard == ready


def _large(stage: Stage):
    component = stage.api.spec.component("api") if stage.api.spec else None
    assert component is not None
    return component.model_copy(update={"max_replicas": 500})


async def test_an_object_is_idle_until_it_is_called_and_a_minute_after():
    """Whoever was never called waits first; a rotation or a drain that is under way does not."""
    stage = Stage()
    (mind,) = await _minds(stage, 1)
    assert not load_of(stage.now_ms, stage.backend.workloads, mind).idle  # the first document is rolling out
    await stage.seconds(2)
    assert load_of(stage.now_ms, stage.backend.workloads, mind).idle
    stage.ports.says["gateway"] = {"rps": 1.0}
    await stage.seconds(1)
    stage.ports.says["gateway"] = {}
    await stage.seconds(59)
    assert not load_of(stage.now_ms, stage.backend.workloads, mind).idle
    await stage.seconds(1)
    assert load_of(stage.now_ms, stage.backend.workloads, mind).idle


async def _minds(stage: Stage, seconds: int) -> list[Mind]:
    stage.ports.mute = {"gateway-1"}
    await stage.seconds(seconds)
    stage.ports.mute = set()
    return list(stage.controller.minds.values())
