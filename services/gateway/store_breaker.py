"""The gateway's one breaker, `redis`, as the others show theirs (contract.md 1.6): state, counts, transitions.

It is the batch connection's (runtime/redis_breaker.py): opened by failures, closed by good probes alone, so it can be
seen but neither forced nor reset. `on_state` hears each change; calls are what the connection counts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Protocol

from services.runtime.metrics import Metrics, Series
from services.runtime.vitals import rfc3339
from services.schema.snapshot import BreakerState

NAME: Final = "redis"
TRANSITIONS_KEPT: Final = 50


class Counts(Protocol):
    """What the batch connection counts."""

    timeouts: int
    failures: int


class StoreBreaker:
    def __init__(self, metrics: Metrics, waits: Series) -> None:
        self._waits = waits  # one observation per call
        self._counts: Counts | None = None
        self._since = time.time()
        self._last_failure: float | None = None
        self._changes: deque[dict[str, str]] = deque(maxlen=TRANSITIONS_KEPT)
        self._moves = metrics.counter("breaker_transitions_total", "Changes of a breaker's state", ("name", "to"))
        metrics.gauge("breaker_state", "0 closed, 1 half-open, 2 open", self._gauge, ("name",))
        metrics.counting("breaker_calls_total", "Calls by outcome", self._calls, ("name", "result"))
        self.open = False

    def watch(self, counts: Counts) -> None:
        self._counts = counts

    def moved(self, *, is_open: bool) -> None:
        """The connection's breaker is open, or closed."""
        now = time.time()
        if is_open:
            self._last_failure = now
        if is_open == self.open:
            return
        names = ("closed", "open") if is_open else ("open", "closed")
        self._changes.append({"from": names[0], "to": names[1], "timestamp": rfc3339(now)})
        self._moves.inc(NAME, names[1])
        self.open, self._since = is_open, now

    @property
    def state(self) -> str:
        return "open" if self.open else "closed"

    def row(self) -> dict[str, Any]:
        calls = {result: int(count) for (_, result), count in self._calls().items()}
        failed = calls["failure"] + calls["timeout"]
        stats = {
            "totalCalls": calls["success"] + failed,
            "successfulCalls": calls["success"],
            "failedCalls": failed,
            "rejectedCalls": 0,  # nobody is rejected: the limiter goes on from local state
            "stateChanges": list(self._changes),
        }
        last = rfc3339(self._last_failure) if self._last_failure is not None else None
        shown = self.snapshot()
        return {
            "name": NAME,
            "state": shown.state,
            "failures": failed,
            "lastFailure": last,
            "forced": False,
            "since": shown.since,
            "reason": shown.reason,
            "retryAt": None,  # a probe four times a second closes it
            "stats": stats,
        }

    def snapshot(self) -> BreakerState:
        return BreakerState(NAME, self.state, since=rfc3339(self._since), reason="no answer" if self.open else "")

    def _gauge(self) -> Mapping[tuple[str, ...], float]:
        return {(NAME,): 2.0 if self.open else 0.0}

    def _calls(self) -> Mapping[tuple[str, ...], float]:
        timeouts = self._counts.timeouts if self._counts else 0
        failures = max(0, (self._counts.failures if self._counts else 0) - timeouts)
        success = max(0, sum(self._waits.counts) - failures - timeouts)
        return {
            (NAME, "success"): float(success),
            (NAME, "failure"): float(failures),
            (NAME, "timeout"): float(timeouts),
        }
