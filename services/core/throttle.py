"""A client's own throttle towards a tier that turns requests away: send no more than about twice what it takes.

Google SRE's client-side throttling with K = 2: p = (requests - K · accepts) / (requests + 1), at most 0.8, and 0 while
there are too few to judge. Two things differ from the book, both for recovery: the window is a second, not two
minutes, and only requests whose outcome is known count, not those dropped here. With dropped ones counted, p > 0.5
keeps itself up (what is dropped lowers `accepts` faster than it ages), and a fleet would stay shut long after its next
tier is well again; this way it is open within a window.

The gateway's `forward` raises the two counters, `refresh` runs ten times a second, `throttle` draws against `p`. Pure.
"""

from __future__ import annotations

from collections import deque
from typing import Final

TICKS: Final = 10  # of 100 ms
FACTOR: Final = 2.0
MAX: Final = 0.8  # something always goes through: else nobody would see the recovery
ENOUGH: Final = 60


class Throttle:
    """`ended`: requests whose outcome is known. `turned_away`: those of them that the next tier had no room for."""

    __slots__ = ("_before", "_window", "ended", "p", "turned_away")

    def __init__(self) -> None:
        self.ended = 0
        self.turned_away = 0
        self.p = 0.0
        self._before = (0, 0)
        self._window: deque[tuple[int, int]] = deque(maxlen=TICKS)

    def refresh(self) -> None:
        """Another tick is over."""
        ended, turned_away = self._before
        self._window.append((self.ended - ended, self.turned_away - turned_away))
        self._before = (self.ended, self.turned_away)
        total = sum(tick[0] for tick in self._window)
        self.p = share(total, total - sum(tick[1] for tick in self._window))


def share(requests: int, accepts: int) -> float:
    """The share of requests to drop before they are sent: 0 … MAX."""
    if requests < ENOUGH:
        return 0.0
    return max(0.0, min(MAX, (requests - FACTOR * accepts) / (requests + 1)))
