from __future__ import annotations

from typing import Any

from services.api.fleet.cache import SUMS, merge


def part(count: int, *, state: str = "up", generation: int = 1) -> dict[str, Any]:
    space = {"name": "lists", "generation": generation, "entries": count, "hits": count, "misses": count, "ttl": 60}
    return {**dict.fromkeys(SUMS, count), "namespaces": [space], "l2": {"state": state, "usedBytes": 100}}


def test_merged() -> None:
    """Sums, the newest generation, a hit rate of all look-ups; L2 is down if any api finds it so."""
    found = merge([part(1), part(3, state="down", generation=2)])
    assert (found["localHits"], found["hitRate"]) == (4, 0.5)
    assert found["namespaces"] == [{"name": "lists", "generation": 2, "entries": 4, "hits": 4, "misses": 4, "ttl": 60}]
    assert found["l2"] == {"state": "down", "usedBytes": 100}


def test_nobody_answered() -> None:
    """Zeros, and down."""
    assert merge([]) == {
        **dict.fromkeys(SUMS, 0),
        "hitRate": 0.0,
        "namespaces": [],
        "l2": {"state": "down", "usedBytes": 0},
    }
