"""How many requests may be under way at once: found from their latency, not configured (Netflix's Gradient2).

While the time to head stays what it was, the limit grows a little per window; when it rises, requests queue up at the
next hop and the limit falls, to about what that hop works on at once plus four. No probing at 1, as other schemes do:
it causes refusals. The long average moves slowly, and ten times more slowly while requests wait, so a lasting overload
does not become the normal case. Limits are per eligible target and scale with their number.

The caller raises `count` and `total_s` per good answer, and calls `refresh` ten times a second. Pure: `now` is a
monotonic clock in seconds.
"""

from __future__ import annotations

from math import exp
from typing import Final

INITIAL: Final = 20.0  # per target
MIN: Final = 4.0  # theirs is 20: behind us are small processes
MAX: Final = 200.0
WINDOW_S: Final = 0.1
ENOUGH: Final = 10  # samples of a window
LONG: Final = 600  # windows
LONG_WAITING: Final = 6000
WARM_UP: Final = 10  # windows whose mean starts the long average
SMOOTHING: Final = 0.2
HEADROOM: Final = 4.0
DRIFT: Final = 2.0  # a long average so far above is outdated …
DECAY: Final = 0.9  # … and comes down faster
TYPICAL_TAU_S: Final = 1.0


class Gradient:
    """`limit` over all targets. `typical_s`: what an answer's head takes at the moment."""

    __slots__ = ("_at", "_targets", "_warm", "_warm_s", "count", "limit", "long_s", "total_s", "typical_s")

    def __init__(self, now: float) -> None:
        self.count = 0
        self.total_s = 0.0
        self.limit = INITIAL
        self.long_s = 0.0
        self.typical_s = 0.0
        self._targets = 1
        self._warm = 0
        self._warm_s = 0.0
        self._at = now

    def refresh(self, now: float, in_flight: int, targets: int, *, waiting: bool) -> None:
        """Close the window if it is long and full enough; `targets` are eligible, `waiting`: somebody is."""
        targets = max(1, targets)
        if targets != self._targets:
            self.limit *= targets / self._targets
            self._targets = targets
        seconds = now - self._at
        if self.count < ENOUGH or seconds < WINDOW_S * 0.9:  # a timer's tenth of a second may be a little less
            return
        short_s = self.total_s / self.count
        self.count, self.total_s, self._at = 0, 0.0, now
        keep = exp(-seconds / TYPICAL_TAU_S) if self.typical_s else 0.0
        self.typical_s = keep * self.typical_s + (1.0 - keep) * short_s
        self._lengthen(short_s, LONG_WAITING if waiting else LONG)
        if 2 * in_flight >= self.limit:  # else the callers are the limit, not we
            grown = gradient(self.long_s, short_s) * self.limit + HEADROOM
            wanted = (1.0 - SMOOTHING) * self.limit + SMOOTHING * grown
            self.limit = max(MIN * targets, min(MAX * targets, wanted))

    def _lengthen(self, short_s: float, windows: int) -> None:
        if self._warm < WARM_UP:
            self._warm += 1
            self._warm_s += short_s
            self.long_s = self._warm_s / self._warm
            return
        share = 2.0 / (windows + 1)
        self.long_s += share * (short_s - self.long_s)
        if self.long_s > DRIFT * short_s:
            self.long_s *= DECAY


def gradient(long_s: float, short_s: float) -> float:
    """1 while latency is what it was, down to a half."""
    return max(0.5, min(1.0, long_s / short_s)) if short_s > 0 else 1.0
