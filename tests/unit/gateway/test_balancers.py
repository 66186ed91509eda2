from __future__ import annotations

import time

import pytest

from services.gateway.answers import ANSWERS
from services.gateway.balancers import Balancers
from services.http1.limits import Deadlines, Limits
from services.runtime.endpoints import EndpointInfo
from tests.harness.wait import eventually


def infos(*numbers: int, draining: tuple[int, ...] = ()) -> tuple[EndpointInfo, ...]:
    return tuple(EndpointInfo(f"b-{n}", "127.0.0.1", 1000 + n, draining=n in draining) for n in numbers)


@pytest.fixture
async def balancers():
    made = Balancers(Limits(), Deadlines(), ANSWERS)
    yield made
    await made.stop()


def picked(balancers: Balancers, count: int = 200, excluded=()) -> set[str]:
    now = time.monotonic()
    found = [balancers.pick(now, excluded) for _ in range(count)]
    return {endpoint.id for endpoint in found if endpoint is not None}


async def test_all_are_picked_from_the_start(balancers):
    """The first set is neither on probation nor slowly started: nobody knows better yet."""
    assert picked(balancers) == set()
    balancers.use(infos(1, 2))
    assert picked(balancers) == {"b-1", "b-2"}
    now = time.monotonic()
    balancers.endpoints[0].active = 64
    assert balancers.pick(now, ()) is not None


async def test_a_new_set_keeps_who_stays(balancers):
    """What is in flight stays counted; who is gone is picked no more."""
    balancers.use(infos(1, 2))
    first = balancers.endpoints[0]
    first.active = 3
    balancers.use(infos(1, 3))
    assert balancers.endpoints[0] is first
    assert first.active == 3
    assert picked(balancers) <= {"b-1", "b-3"}
    assert [state.id for state in balancers.states()] == ["b-1", "b-3"]


async def test_draining_ones_get_nothing_new_unless_alone(balancers):
    """Discovery's word and a drain by hand alike."""
    balancers.use(infos(1, 2, draining=(1,)))
    assert picked(balancers) == {"b-2"}
    assert balancers.drain("b-2", 60) is not None
    assert picked(balancers) == {"b-1", "b-2"}
    balancers.use(infos(1, 2))
    assert picked(balancers) == {"b-1"}
    balancers.drain("b-2", 0)
    assert "b-2" in picked(balancers, 2000)
    assert balancers.drain("unknown", 60) is None


async def test_a_drain_by_hand_ends_by_itself(balancers):
    """After its time it is picked again."""
    balancers.use(infos(1, 2))
    balancers.start()
    balancers.drain("b-1", 0.2)
    assert picked(balancers) == {"b-2"}
    await eventually(lambda: "b-1" in picked(balancers, 2000), 5, "the drain is over")


async def test_who_cannot_be_reached_is_left_alone_for_a_moment(balancers):
    """A failed connect takes it out of the draws until its backoff ends; a good one brings it back."""
    balancers.use(infos(1, 2))
    one = balancers.endpoints[0]
    one.pool.backoff_until = time.monotonic() + 5
    one.connected(ok=False)
    assert picked(balancers) == {"b-2"}
    assert balancers.states()[0].state == "unhealthy"
    assert 4 < balancers.soonest_s(time.monotonic()) <= 5
    assert balancers.reachable(time.monotonic())
    one.connected(ok=True)
    assert picked(balancers) == {"b-1", "b-2"}


async def test_nobody_is_reachable(balancers):
    """None known, or all in their backoff: the gateway is degraded."""
    assert not balancers.reachable(time.monotonic())
    balancers.use(infos(1))
    assert balancers.reachable(time.monotonic())
    one = balancers.endpoints[0]
    one.pool.backoff_until = time.monotonic() + 5
    one.connected(ok=False)
    assert not balancers.reachable(time.monotonic())


async def test_excluded_ones_come_last(balancers):
    """A replay goes elsewhere if there is an elsewhere."""
    balancers.use(infos(1, 2))
    assert picked(balancers, excluded=(balancers.endpoints[0],)) == {"b-2"}
