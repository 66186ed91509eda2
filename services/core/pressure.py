"""How close a process is to its limits: one number, 0 … 1, and what is still kept at it (data-path.md §6).

The loop's lag, requests in flight and memory each say how far they are into their last stretch; the worst one counts.
It rises at once and falls with a half-life, so that shedding does not flap. `keep_below` is cubic (Netflix): slowly
first, then steeply. The gateway's `shed` refreshes it ten times a second. Pure: `now` is a monotonic clock in seconds.
"""

from __future__ import annotations

from typing import Final

from services.core.criticality import PRIORITY_MAX

IN_FLIGHT_MAX: Final = 2000
LAG_FROM_MS: Final = 20.0
LAG_SPAN_MS: Final = 80.0
IN_FLIGHT_FROM: Final = 0.8
MEMORY_FROM: Final = 0.85
MEMORY_SPAN: Final = 0.10
HALF_LIFE_S: Final = 2.0
GONE: Final = 0.01  # less sheds nobody; an exponential never ends by itself


def load(lag_ms: float, in_flight: int, memory: float) -> float:
    """0 … 1; `memory` is resident size ÷ limit."""
    lag = (lag_ms - LAG_FROM_MS) / LAG_SPAN_MS
    requests = (in_flight / IN_FLIGHT_MAX - IN_FLIGHT_FROM) / (1.0 - IN_FLIGHT_FROM)
    used = (memory - MEMORY_FROM) / MEMORY_SPAN
    return max(0.0, min(1.0, max(lag, requests, used)))


def keep_below(x: float) -> float:
    """Priorities up to this stay: .35 → 95.7, .8 → 48.8, .95 → 14.3."""
    return PRIORITY_MAX * (1.0 - x**3)


class Pressure:
    __slots__ = ("_at", "x")

    def __init__(self, now: float) -> None:
        self.x = 0.0
        self._at = now

    def update(self, measured: float, now: float) -> float:
        """`measured` by `load`; the number that holds now."""
        left = self.x * 0.5 ** (max(0.0, now - self._at) / HALF_LIFE_S)
        self.x = max(measured, left if left > GONE else 0.0)
        self._at = now
        return self.x
