"""The cache's figures: for `~/admin/cache` since start, for Prometheus as counters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from services.api.cache.entry import Namespace
from services.api.cache.found import RESULTS
from services.runtime.metrics import Metrics


class Stats:
    """Look-ups by namespace and result."""

    def __init__(self, namespaces: Iterable[str]) -> None:
        self._counts = {n: dict.fromkeys(RESULTS, 0) for n in namespaces}

    def count(self, namespace: str, result: str) -> None:
        self._counts[namespace][result] += 1

    def total(self, *results: str) -> int:
        return sum(counts[r] for counts in self._counts.values() for r in results)

    def describe(
        self,
        namespaces: Iterable[Namespace],
        number: Callable[[str], int],
        entries: dict[str, int],
        size: tuple[int, int],
        shared: dict[str, Any],
    ) -> dict[str, Any]:
        """One process's `~/admin/cache`, without the rate (a merged one is made of the sums)."""
        return {
            "localHits": self.total("l1_hit", "negative"),
            "redisHits": self.total("l2_hit"),
            "misses": self.total("miss", "collapsed"),
            "localCacheSize": size[0],
            "localBytes": size[1],
            "stale": self.total("stale"),
            "collapsed": self.total("collapsed"),
            "namespaces": [
                {
                    "name": n.name,
                    "generation": number(n.name),
                    "entries": entries.get(n.name, 0),
                    "hits": sum(self._counts[n.name][r] for r in ("l1_hit", "l2_hit", "negative", "stale")),
                    "misses": sum(self._counts[n.name][r] for r in ("miss", "collapsed")),
                    "ttl": n.ttl_s,
                }
                for n in namespaces
            ],
            "l2": shared,
        }


class CacheMetrics:
    """The cache's rows of contract.md section 8."""

    def __init__(self, metrics: Metrics, size: Callable[[], tuple[int, int]]) -> None:
        labels = ("namespace", "result")
        self.requests = metrics.counter("cache_requests_total", "Cache look-ups by what answered them", labels)
        text = "Namespaces or entries made old, by a write or by hand"
        self.invalidations = metrics.counter("cache_invalidations_total", text, ("namespace",))
        metrics.gauge("cache_entries", "Entries in this process's L1", lambda: size()[0])
        metrics.gauge("cache_bytes", "Bytes in this process's L1", lambda: size()[1])
