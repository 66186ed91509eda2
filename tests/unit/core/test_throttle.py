"""The client throttle: what it drops, and how soon it lets go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.throttle import ENOUGH, MAX, TICKS, Throttle, share


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_invariant_26(requests: int, accepted: float) -> None:
    """p is in 0 … 0.8, and 0 when all is accepted."""
    assert 0 <= share(requests, int(requests * accepted)) <= MAX
    assert share(requests, requests) == 0


@pytest.mark.parametrize(
    ("requests", "accepts", "p"),
    [(ENOUGH - 1, 0, 0), (ENOUGH, 0, MAX), (999, 500, 0), (999, 250, 0.499), (999, 0, MAX)],
)
def test_share(requests: int, accepts: int, p: float) -> None:
    """More than twice of what is accepted: the rest goes; too few to judge: nothing does."""
    assert share(requests, accepts) == pytest.approx(p)


def play(throttle: Throttle, ticks: int, offered: int, room: int) -> list[float]:
    """`offered` requests a tick, of those sent `room` are taken; p after each tick."""
    found = []
    for _ in range(ticks):
        sent = round(offered * (1 - throttle.p))
        throttle.ended += sent
        throttle.turned_away += max(0, sent - room)
        throttle.refresh()
        found.append(throttle.p)
    return found


def test_a_tier_that_is_well_again_is_seen_within_a_window() -> None:
    """At ten times its capacity half and more is dropped; a second after the load is normal again nothing is."""
    throttle = Throttle()
    assert play(throttle, 20, 100, 100) == [0.0] * 20
    assert play(throttle, 60, 1000, 100)[-1] > 0.5
    assert play(throttle, TICKS, 100, 100)[-1] == 0
