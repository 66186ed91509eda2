"""Events, without floods: per (object, reason, subject) five at once, then one per half minute (operator.md §4).

The next one that passes tells what was held back. Caller: the loop, for everything it reports.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from services.controller.backend import Event, Key

BURST: Final = 5
REFILL_MS: Final = 30_000
MAX_BUCKETS: Final = 4096
"""Subjects come from outside (circuit names): the oldest buckets make room."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_ms: int
    held: int = 0


@dataclass(slots=True)
class EventFilter:
    """The buckets of all objects."""

    _buckets: dict[tuple[Key, str, str], _Bucket] = field(default_factory=dict)

    def admit(self, now_ms: int, key: Key, event: Event) -> Event | None:
        """The event, perhaps with `(+n suppressed)`, or None when it has to wait."""
        name = (key, event.reason, event.subject)
        bucket = self._buckets.pop(name, None) or _Bucket(BURST, now_ms)
        self._buckets[name] = bucket
        while len(self._buckets) > MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        bucket.tokens = min(BURST, bucket.tokens + (now_ms - bucket.at_ms) / REFILL_MS)
        bucket.at_ms = now_ms
        if bucket.tokens < 1:
            bucket.held += 1
            return None
        bucket.tokens -= 1
        held, bucket.held = bucket.held, 0
        return replace(event, message=f"{event.message} (+{held} suppressed)") if held else event
