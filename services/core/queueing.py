"""Who waits for a free place, in which order, and for how long (data-path.md §6).

One line per criticality; a place goes to the highest class. Normally first in, first out, and nobody waits longer than
100 ms. A queue that has not been empty for so long is a standing one: there is more to do than can be done, and who
has waited would only be served when it has given up. Then the newest goes first and waiting is worth 5 ms (CoDel's
two bounds, Facebook's adaptive LIFO). critical-plus is outside of both: always in order, until its own deadline.

A full queue gives up the oldest of the lowest class below the newcomer's; without one the newcomer goes. Pure: `now` is
a monotonic clock in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from services.core.criticality import CRITICAL_PLUS, CRITICALITIES

ROOM_FACTOR: Final = 4  # waiting ones per place
ROOM_MAX: Final = 2048
PATIENCE_S: Final = 0.1
STANDING_PATIENCE_S: Final = 0.005

T = TypeVar("T")


class Waiter(Generic[T]):
    """A place in the queue."""

    __slots__ = ("at", "criticality", "item")

    def __init__(self, item: T, criticality: int, now: float) -> None:
        self.item = item
        self.criticality = criticality
        self.at = now


class Queue(Generic[T]):
    """`depth` are waiting."""

    __slots__ = ("_lines", "_since", "depth")

    def __init__(self) -> None:
        self.depth = 0
        self._since = 0.0  # not empty since then
        self._lines: tuple[OrderedDict[Waiter[T], None], ...] = tuple(OrderedDict() for _ in CRITICALITIES)

    def join(self, item: T, criticality: int, now: float, room: int) -> tuple[Waiter[T] | None, Waiter[T] | None]:
        """Its place, None if there is no room for it; and who had to give way."""
        evicted = None
        if self.depth >= room:
            evicted = self._oldest_below(criticality)
            if evicted is None:
                return None, None
            self.leave(evicted)
        if not self.depth:
            self._since = now
        waiter = Waiter(item, criticality, now)
        self._lines[criticality][waiter] = None
        self.depth += 1
        return waiter, evicted

    def leave(self, waiter: Waiter[T]) -> None:
        """It waits no longer; who does not wait may leave too."""
        line = self._lines[waiter.criticality]
        if waiter in line:
            del line[waiter]
            self.depth -= 1

    def take(self, now: float) -> Waiter[T] | None:
        """Whose turn it is."""
        for criticality in range(CRITICAL_PLUS, -1, -1):
            line = self._lines[criticality]
            if line:
                waiter, _ = line.popitem(last=criticality != CRITICAL_PLUS and self.standing(now))
                self.depth -= 1
                return waiter
        return None

    def standing(self, now: float) -> bool:
        """It has not been empty for PATIENCE_S."""
        return self.depth > 0 and now - self._since >= PATIENCE_S

    def expire(self, now: float) -> list[Waiter[T]]:
        """Those who have waited too long, no longer waiting; lowest class first."""
        latest = now - (STANDING_PATIENCE_S if self.standing(now) else PATIENCE_S)
        expired = []
        for line in self._lines[:CRITICAL_PLUS]:
            while line and (waiter := next(iter(line))).at <= latest:
                del line[waiter]
                expired.append(waiter)
        self.depth -= len(expired)
        return expired

    def check_in_s(self, now: float) -> float:
        """When `expire` should be asked next, if anybody waits."""
        if not self.standing(now):
            return max(0.0, self._since + PATIENCE_S - now)
        return max(0.0, self._oldest_at(self._lines[:CRITICAL_PLUS], now) + STANDING_PATIENCE_S - now)

    def oldest_s(self, now: float) -> float:
        """How long the first one has waited; 0: nobody does."""
        return now - self._oldest_at(self._lines, now)

    def _oldest_below(self, criticality: int) -> Waiter[T] | None:
        return next((next(iter(line)) for line in self._lines[:criticality] if line), None)

    @staticmethod
    def _oldest_at(lines: tuple[OrderedDict[Waiter[T], None], ...], now: float) -> float:
        return min((next(iter(line)).at for line in lines if line), default=now)


def room(limit: float) -> int:
    """How many may wait for `limit` places."""
    return min(int(ROOM_FACTOR * limit), ROOM_MAX)
