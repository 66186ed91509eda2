from __future__ import annotations

import pytest

from services.api.cache.found import Found, Level
from services.core.cache import Entry


def entry(*, negative: bool = False) -> Entry:
    return Entry(b"x", "", 0, 100, 200, 0, negative)


@pytest.mark.parametrize(
    ("level", "at", "negative", "collapsed", "result", "x_cache", "status"),
    [
        ("l1", 58.5, False, False, "l1_hit", "HIT", "scalable-l1; hit; ttl=41"),
        ("l2", 58.5, False, False, "l2_hit", "HIT", "scalable-l2; hit; ttl=41, scalable-l1; fwd=miss; stored"),
        ("l1", 112.0, False, False, "stale", "STALE", "scalable-l1; hit; ttl=-12"),
        ("l1", 99.0, True, False, "negative", "HIT", "scalable-l1; hit; ttl=1"),
        ("origin", 0, False, True, "collapsed", "MISS", "scalable-l1; fwd=miss; collapsed"),
        ("origin", 0, False, False, "miss", "MISS", "scalable-l2; fwd=miss; stored, scalable-l1; fwd=miss; stored"),
    ],
)
def test_how_it_is_told(
    level: Level, at: float, negative: bool, collapsed: bool, result: str, x_cache: str, status: str
) -> None:
    """Cache-Status, X-Cache and the metric's label agree on where a body came from; `cached` is false for the
    origin's.
    """
    found = Found(entry(negative=negative), level, at, collapsed)
    assert (found.result, found.x_cache, found.cache_status) == (result, x_cache, status)
    assert found.cached is (level != "origin")
