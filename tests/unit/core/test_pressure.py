"""How near the limits are, and what is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.pressure import Pressure, keep_below, load


@pytest.mark.parametrize(
    ("lag_ms", "in_flight", "memory", "x"),
    [
        (0, 0, 0, 0),
        (20, 1600, 0.85, 0),
        (60, 0, 0, 0.5),
        (0, 1800, 0, 0.5),
        (0, 0, 0.9, 0.5),
        (20, 1700, 0.94, 0.9),
        (500, 0, 0, 1),
        (0, 2000, 0, 1),
        (0, 0, 2.0, 1),
    ],
)
def test_the_worst_of_three_counts(lag_ms: float, in_flight: int, memory: float, x: float) -> None:
    """Lag from 20 to 100 ms, in flight from 1 600 to 2 000, memory from 85 to 95 %."""
    assert load(lag_ms, in_flight, memory) == pytest.approx(x)


@pytest.mark.parametrize(("x", "keep"), [(0, 100), (0.35, 95.7), (0.8, 48.8), (0.95, 14.3), (1, 0)])
def test_shed_slowly_then_steeply(x: float, keep: float) -> None:
    """Cubic."""
    assert keep_below(x) == pytest.approx(keep, abs=0.05)


@given(st.floats(0, 1), st.floats(0, 1))
def test_invariant_23_keep_below_falls_in_x(one: float, other: float) -> None:
    """More pressure never keeps more; all of 0 … 100."""
    low, high = sorted((one, other))
    assert 0 <= keep_below(high) <= keep_below(low) <= 100


def test_it_rises_at_once_and_falls_by_half_each_two_seconds() -> None:
    """Shedding does not flap; what is left of it in the end is nothing."""
    pressure = Pressure(0.0)
    assert pressure.update(0.8, 0.1) == 0.8
    assert pressure.update(0.0, 2.1) == pytest.approx(0.4)
    assert pressure.update(0.3, 4.1) == pytest.approx(0.3)
    assert pressure.update(0.9, 4.2) == 0.9
    assert pressure.update(0.0, 20.2) == 0.0
    assert pressure.update(0.5, 1.0) == 0.5  # a clock that stands makes nothing worse
