"""What a look-up gave, and how the answer's head tells it (RFC 9211 Cache-Status, X-Cache)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from services.core.cache import Entry

Level = Literal["l1", "l2", "origin"]
RESULTS: Final = ("l1_hit", "l2_hit", "miss", "stale", "collapsed", "negative")


@dataclass(frozen=True, slots=True)
class Found:
    """An entry with where it came from. `at` is the wall clock of the look-up; `collapsed`: another request's origin
    call.
    """

    entry: Entry
    level: Level
    at: float
    collapsed: bool = False

    @property
    def cached(self) -> bool:
        """The body came from a cache, not from the origin."""
        return self.level != "origin"

    @property
    def stale(self) -> bool:
        return self.cached and self.at > self.entry.fresh_until

    @property
    def result(self) -> str:
        """The label of `api_cache_requests_total`."""
        if self.collapsed:
            return "collapsed"
        if not self.cached:
            return "miss"
        if self.stale:
            return "stale"
        return "negative" if self.entry.negative else f"{self.level}_hit"

    @property
    def x_cache(self) -> str:
        if not self.cached:
            return "MISS"
        return "STALE" if self.stale else "HIT"

    @property
    def cache_status(self) -> str:
        """The caches the answer passed, the one nearest to the origin first."""
        ttl = math.floor(self.entry.fresh_until - self.at)
        if self.level == "l1":
            return f"scalable-l1; hit; ttl={ttl}"
        if self.level == "l2":
            return f"scalable-l2; hit; ttl={ttl}, scalable-l1; fwd=miss; stored"
        if self.collapsed:
            return "scalable-l1; fwd=miss; collapsed"
        return "scalable-l2; fwd=miss; stored, scalable-l1; fwd=miss; stored"

    def headers(self) -> dict[str, str]:
        return {"Cache-Status": self.cache_status, "X-Cache": self.x_cache}
