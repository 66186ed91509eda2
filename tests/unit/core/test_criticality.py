"""Classes, their bands, and who goes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.criticality import (
    BAND_STARTS,
    CRITICAL_PLUS,
    CRITICALITIES,
    SHEDDABLE,
    bands_touched,
    priority,
    under_overload,
)


@given(st.binary(max_size=40), st.integers(0, 10**8), st.floats(0, 100))
def test_invariant_22_bands(identifier: bytes, minute: int, keep: float) -> None:
    """No class is shed while a lower one is kept whole, and critical-plus never: bands do not overlap."""
    found = [priority(criticality, identifier, minute) for criticality in range(len(CRITICALITIES))]
    assert found == sorted(found, reverse=True)
    assert found[CRITICAL_PLUS] == 0 <= keep
    for one, start in zip(found, BAND_STARTS, strict=True):
        assert start <= one < start + 30
    kept = [one <= keep for one in found]
    assert kept == sorted(kept)


def test_the_same_callers_for_a_minute_then_others() -> None:
    """Inside a minute a retry finds the same; over an hour nobody is always the one that goes."""
    now = [priority(SHEDDABLE, b"ip:192.0.2.%d" % n, 7) for n in range(200)]
    assert now == [priority(SHEDDABLE, b"ip:192.0.2.%d" % n, 7) for n in range(200)]
    assert len(set(now)) == 30
    one = {priority(SHEDDABLE, b"ip:192.0.2.1", minute) for minute in range(60)}
    assert min(one) < 80
    assert max(one) > 90


def test_slow_routes_go_first() -> None:
    """Under overload the latency class slow counts as sheddable; critical-plus stays what it is."""
    assert [under_overload(one, slow=True) for one in range(4)] == [0, 0, 0, CRITICAL_PLUS]
    assert [under_overload(one, slow=False) for one in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("keep", "touched"), [(100, 0), (99, 0), (98.9, 1), (69, 1), (68, 2), (39, 2), (38, 3), (0, 3)]
)
def test_bands_touched(keep: float, touched: int) -> None:
    """The shed level: how many classes lose something."""
    assert bands_touched(keep) == touched
    highest = [priority(one, name, 0) for one in range(3) for name in (b"%d" % n for n in range(300))]
    assert sum(any(p > keep for p in highest[300 * one : 300 * one + 300]) for one in range(3)) == touched
