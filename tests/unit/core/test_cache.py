from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from services.core.cache import (
    FAIL,
    HIT,
    HIT_AND_REFRESH,
    MISS,
    STALE,
    STALE_AND_REFRESH,
    Entry,
    lookup,
    on_error,
)


def entry(**changes) -> Entry:
    fields = {
        "body": b"x",
        "etag": '"1-1"',
        "stored": 0.0,
        "fresh_until": 100.0,
        "stale_until": 3700.0,
        "delta_ms": 50.0,
    }
    return Entry(**{**fields, **changes})


def test_fresh_then_stale_then_gone() -> None:
    """Fresh entries are hits; up to 30 s past they are served while one refresh runs; then the origin is asked."""
    assert lookup(entry(), 50.0, 0.5) == HIT
    assert lookup(entry(), 110.0, 0.5) == STALE_AND_REFRESH
    assert lookup(entry(), 130.0, 0.5) == STALE_AND_REFRESH
    assert lookup(entry(), 130.1, 0.5) == MISS
    assert lookup(entry(stale_until=105.0), 106.0, 0.5) == MISS
    assert lookup(None, 0.0, 0.5) == MISS


def test_early_refresh_grows_with_the_origins_time() -> None:
    """XFetch: a slow origin is asked earlier, a small draw earlier still, and a draw of 1 only at the very end."""
    assert lookup(entry(delta_ms=0.0), 99.99, 0.001) == HIT
    assert lookup(entry(delta_ms=2000.0), 99.0, 0.5) == HIT_AND_REFRESH
    assert lookup(entry(delta_ms=2000.0), 99.0, 1.0) == HIT
    assert lookup(entry(delta_ms=2000.0), 100.0, 1.0) == HIT_AND_REFRESH


def test_a_failing_origin_is_stood_in_for_until_stale_until() -> None:
    """Stale-if-error ends at stale_until."""
    assert on_error(entry(), 3700.0) == STALE
    assert on_error(entry(), 3700.1) == FAIL
    assert on_error(None, 0.0) == FAIL


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 1e4), st.floats(1e-9, 1))
def test_stale_only_until_stale_until(fresh: float, extra: float, now: float, delta: float, draw: float) -> None:
    """No entry is served past stale_until, as fresh past fresh_until, or refreshed earlier than XFetch says
    (invariant 37).
    """
    held = entry(fresh_until=fresh, stale_until=fresh + extra, delta_ms=delta)
    decision = lookup(held, now, draw)
    if decision in (HIT, HIT_AND_REFRESH):
        assert now <= fresh
    if decision == HIT_AND_REFRESH:
        assert now - delta / 1000 * math.log(draw) >= fresh
    if decision == STALE_AND_REFRESH:
        assert fresh < now <= held.stale_until
        assert now <= fresh + 30
    if now > held.stale_until:
        assert decision == MISS
        assert on_error(held, now) == FAIL
