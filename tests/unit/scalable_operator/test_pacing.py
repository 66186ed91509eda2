"""When a refused write is tried again."""

from __future__ import annotations

import pytest

from scalable_operator.pacing import CONFLICT_S, DENIED_S, Pacing, backoff
from services.controller.backend import Conflict, Denied, Done, RetryAfter

WHAT = ("uid", "status")


def test_three_conflicts_in_a_row_wait() -> None:
    """One and two are tried again next tick, the third after three seconds; a success forgets them."""
    pacing = Pacing()
    for _ in range(2):
        pacing.heard(0, WHAT, Conflict())
        assert pacing.blocked(0, WHAT) is None
    pacing.heard(0, WHAT, Conflict())
    assert pacing.blocked(CONFLICT_S - 1, WHAT) == RetryAfter(1)
    assert pacing.blocked(CONFLICT_S, WHAT) is None
    pacing.heard(CONFLICT_S, WHAT, Done())
    pacing.heard(CONFLICT_S, WHAT, Conflict())
    assert pacing.blocked(CONFLICT_S, WHAT) is None


def test_a_busy_server_is_left_alone_for_longer_each_time() -> None:
    """Its own word counts; without one the wait doubles."""
    pacing = Pacing(draw=lambda: 0.5)
    assert pacing.heard(0, WHAT, RetryAfter(7)) == RetryAfter(7)
    assert pacing.heard(7, WHAT, RetryAfter(0)) == RetryAfter(1.0)
    assert pacing.heard(8, WHAT, RetryAfter(0)) == RetryAfter(2.0)
    assert pacing.blocked(9, WHAT) == RetryAfter(1.0)
    assert pacing.blocked(9, ("uid", "scale")) is None


def test_what_is_denied_is_named_until_it_works() -> None:
    """And asked again after a minute."""
    pacing = Pacing()
    pacing.heard(0, WHAT, Denied("patch pods: no"))
    assert pacing.blocked(DENIED_S - 1, WHAT) == Denied("patch pods: no")
    assert pacing.blocked(DENIED_S, WHAT) is None
    pacing.heard(DENIED_S, WHAT, Done())
    assert pacing.blocked(DENIED_S, WHAT) is None


def test_a_gone_object_is_forgotten() -> None:
    """With everything it waited for."""
    pacing = Pacing()
    pacing.heard(0, WHAT, Denied("no"))
    pacing.forget("uid")
    assert pacing.blocked(0, WHAT) is None


def test_backoff_doubles_up_to_half_a_minute() -> None:
    """0.5, 1, 2 … 30 s, spread by a fifth."""
    assert [backoff(n, lambda: 0.5) for n in (0, 1, 2, 9)] == [0.5, 1.0, 2.0, 30.0]
    assert backoff(0, lambda: 0.0) == pytest.approx(0.4)
    assert backoff(0, lambda: 1.0) == pytest.approx(0.6)
