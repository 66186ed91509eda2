"""The adaptive limit: where it starts, what moves it, and what must not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.gradient import ENOUGH, INITIAL, MAX, MIN, WARM_UP, Gradient, gradient

SECONDS = st.floats(0.0005, 5.0)


def window(
    one: Gradient, now: float, short_s: float, in_flight: int, targets: int = 1, *, waiting: bool = False
) -> None:
    """A full window of answers that took `short_s`."""
    one.count += ENOUGH
    one.total_s += ENOUGH * short_s
    one.refresh(now, in_flight, targets, waiting=waiting)


def settled(long_s: float, limit: float) -> Gradient:
    one = Gradient(0.0)
    for step in range(WARM_UP):
        window(one, 0.1 * (step + 1), long_s, 0)
    one.limit = limit
    return one


def test_the_example() -> None:
    """Limit 100, long 10 ms, short 20 ms → 90.8 (long has moved by a six-hundredth)."""
    one = settled(0.010, 100)
    window(one, 2.0, 0.020, 100)
    assert one.limit == pytest.approx(90.8, abs=0.05)


def test_it_starts_and_scales_with_the_targets() -> None:
    """Twenty per eligible target; fewer targets, fewer places; none counts as one."""
    one = Gradient(0.0)
    one.refresh(0.01, 0, 3, waiting=False)
    assert one.limit == 3 * INITIAL
    one.refresh(0.02, 0, 0, waiting=False)
    assert one.limit == INITIAL


def test_few_answers_and_short_windows_say_nothing() -> None:
    """Less than ten answers, or less than a tenth of a second: wait for more."""
    one = settled(0.01, 20)
    one.count, one.total_s = ENOUGH - 1, 9.0
    one.refresh(5.0, 20, 1, waiting=False)
    assert one.limit == 20
    one.count += 1
    one.refresh(1.01, 20, 1, waiting=False)
    assert one.limit == 20
    one.refresh(5.0, 20, 1, waiting=False)
    assert one.limit < 20


@given(SECONDS, st.lists(st.tuples(SECONDS, st.integers(0, 500), st.booleans()), max_size=60), st.integers(1, 5))
def test_invariant_24_bounds(long_s: float, windows: list[tuple[float, int, bool]], targets: int) -> None:
    """The limit stays within min and max per target, and does not move while the callers are the limit."""
    one = Gradient(0.0)
    window(one, 1.0, long_s, 0, targets)
    for step, (short_s, in_flight, waiting) in enumerate(windows, 2):
        before = one.limit
        window(one, float(step), short_s, in_flight, targets, waiting=waiting)
        assert MIN * targets <= one.limit <= MAX * targets
        if 2 * in_flight < before:
            assert one.limit == before


@given(SECONDS, SECONDS, SECONDS)
def test_invariant_24_it_falls_as_latency_rises(long_s: float, one_s: float, other_s: float) -> None:
    """Of two windows the slower one never leaves more."""
    fast, slow = sorted((one_s, other_s))
    assert gradient(long_s, slow) <= gradient(long_s, fast)
    quick, late = settled(long_s, 50), settled(long_s, 50)
    window(quick, 3.0, fast, 50)
    window(late, 3.0, slow, 50)
    assert late.limit <= quick.limit + 0.05  # the long average has moved too, a little


def test_a_fixed_capacity_is_found() -> None:
    """Behind us 10 at a time take 50 ms each: the limit settles near 10, whatever is offered."""
    one = settled(0.05, 60)
    for step in range(200):
        busy = int(one.limit)
        window(one, 2.0 + step / 10, 0.05 * max(1.0, busy / 10), busy, waiting=True)
    assert 10 <= one.limit <= 16


def test_a_lasting_overload_does_not_become_normal() -> None:
    """A minute of doubled latency moves the long average by less than a fifth while requests wait."""
    waiting, quiet = settled(0.01, 50), settled(0.01, 50)
    for step in range(600):
        window(waiting, 2.0 + step / 10, 0.02, 50, waiting=True)
        window(quiet, 2.0 + step / 10, 0.02, 50)
    assert waiting.long_s < 0.012
    assert quiet.long_s > 0.018


def test_an_outdated_average_comes_down() -> None:
    """Latency that has halved and more is believed within seconds."""
    one = settled(0.1, 50)
    for step in range(30):
        window(one, 2.0 + step / 10, 0.01, 50)
    assert one.long_s < 0.021
    assert gradient(0.1, 0.0) == 1.0


def test_what_an_answer_takes_now() -> None:
    """The typical time follows within a second or two."""
    one = settled(0.01, 20)
    assert one.typical_s == pytest.approx(0.01)
    for step in range(20):
        window(one, 2.0 + step / 10, 0.1, 20)
    assert 0.08 < one.typical_s < 0.1
