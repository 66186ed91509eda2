"""The endpoint's table, event by event."""

from __future__ import annotations

from services.balancer.endpoints import (
    BY_DISCOVERY,
    BY_HAND,
    DISABLED,
    DRAIN,
    DRAINING,
    EJECTED,
    EMPTY,
    FAILING,
    GOOD,
    HEALTHY,
    MOVES,
    OUTLIER,
    RECOVERED,
    RESTED,
    STARTING,
    STATES,
    UNDRAIN,
    UNHEALTHY,
    Endpoint,
)
from services.core.breaker import Breaker, BreakerConfig
from services.runtime.endpoints import EndpointInfo
from services.runtime.metrics import Series


async def endpoint(state: str = STARTING) -> Endpoint:
    made = Endpoint(EndpointInfo("api-1", "127.0.0.1", 1), Breaker("api-1", BreakerConfig(), 0.0), Series(), 0.0)
    made.state = state
    return made


async def test_old_fault_10d() -> None:
    """One failed probe ejects nobody, one good one brings nobody back; three and two do."""
    one = await endpoint(HEALTHY)
    assert one.probed(good=False) == ""
    assert one.probed(good=True) == ""
    assert not one.move(RECOVERED, 1.0)
    assert [one.probed(good=False) for _ in range(3)] == ["", "", FAILING]
    assert one.move(FAILING, 1.0)
    assert one.state == UNHEALTHY
    assert one.probed(good=True) == ""
    assert one.probed(good=False) == ""
    assert not one.move(FAILING, 1.0)
    assert [one.probed(good=True) for _ in range(2)] == ["", RECOVERED]
    assert one.move(RECOVERED, 9.0)
    assert (one.state, one.probation, one.ready_at) == (HEALTHY, True, 9.0)


async def test_one_good_probe_ends_the_start() -> None:
    """A new endpoint is healthy after its first good probe, and starts slowly from there."""
    one = await endpoint()
    assert one.probed(good=True) == GOOD
    assert one.move(GOOD, 5.0)
    assert (one.state, one.ready_at, one.probation) == (HEALTHY, 5.0, True)


async def test_two_failed_connects_in_a_row() -> None:
    """One is nothing, two are."""
    one = await endpoint(HEALTHY)
    assert [one.stumbled(), one.stumbled()] == ["", FAILING]
    one.move(FAILING, 1.0)
    one.move(RECOVERED, 2.0)
    assert one.connect_fails == 0


async def test_draining_ends_when_the_last_cause_is_over() -> None:
    """Several causes: the last one counts; drained by hand and empty: disabled until enabled."""
    one = await endpoint(HEALTHY)
    assert one.move(one.drain(BY_DISCOVERY), 1.0)
    assert not one.move(one.drain(BY_HAND), 1.0)
    assert one.undrain(BY_DISCOVERY) == ""
    assert one.undrain(BY_DISCOVERY) == ""
    assert one.state == DRAINING
    assert one.move(EMPTY, 2.0)
    assert one.state == DISABLED
    assert one.move(one.undrain(BY_HAND), 3.0)
    assert (one.state, one.ready_at, one.probation) == (STARTING, 3.0, True)


def test_table() -> None:
    """Only known states and events; nothing leads from draining into service but its end; ejected ones rest first."""
    events = {GOOD, RECOVERED, FAILING, OUTLIER, RESTED, DRAIN, EMPTY, UNDRAIN}
    assert {state for state, _ in MOVES} | set(MOVES.values()) == set(STATES)
    assert {event for _, event in MOVES} == events
    assert {event for (state, event) in MOVES if state == DRAINING} == {EMPTY, UNDRAIN}
    assert MOVES[EJECTED, RESTED] == HEALTHY
    assert (EJECTED, RECOVERED) not in MOVES
