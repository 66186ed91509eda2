"""Who waits for a free place, in which order, and for how long (data-path.md §6).

One line per criticality; a place goes to the highest class, in a class to who came first. Nobody waits longer than
100 ms. When for 100 ms nobody was let in within 5 ms, the queue is a standing one: there is more to do than can be
done, and waiting only makes everybody late. Then it is worth 5 ms, until nobody had to be turned away for 100 ms
(CoDel's two bounds). critical-plus is outside of both: it waits until its own deadline.

The newest first (adaptive LIFO) would gain at most those 5 ms, and starve the oldest of a queue that is a few longer than
the limit: 64 steady clients at 60 places lost 6 % of their requests to it.

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

    __slots__ = ("_fine_at", "_lines", "_standing", "depth")

    def __init__(self) -> None:
        self.depth = 0
        self._standing = False
        self._fine_at = 0.0  # empty, or somebody let in soon; while it stands: somebody turned away
        self._lines: tuple[OrderedDict[Waiter[T], None], ...] = tuple(OrderedDict() for _ in CRITICALITIES)

    def join(self, item: T, criticality: int, now: float, room: int) -> tuple[Waiter[T] | None, Waiter[T] | None]:
        """Its place, None if there is no room for it; and who had to give way."""
        evicted = None
        if self.depth >= room:
            self._turned_away(now)
            evicted = self._oldest_below(criticality)
            if evicted is None:
                return None, None
            self.leave(evicted)
        if not self.depth and not self._standing:
            self._fine_at = now
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
                waiter, _ = line.popitem(last=False)
                self.depth -= 1
                if not self._standing and now - self._oldest_at(self._lines[:CRITICAL_PLUS], now) < STANDING_PATIENCE_S:
                    self._fine_at = now
                return waiter
        return None

    def standing(self, now: float) -> bool:
        """There is more to do than can be done. Ask often: it is noticed when it is asked."""
        if now - self._fine_at >= PATIENCE_S and (self._standing or self.depth):
            self._standing = not self._standing
            self._fine_at = now
        return self._standing

    def expire(self, now: float) -> list[Waiter[T]]:
        """Those who have waited too long, no longer waiting; lowest class first."""
        latest = now - (STANDING_PATIENCE_S if self.standing(now) else PATIENCE_S)
        expired = []
        for line in self._lines[:CRITICAL_PLUS]:
            while line and (waiter := next(iter(line))).at <= latest:
                del line[waiter]
                expired.append(waiter)
        self.depth -= len(expired)
        if expired:
            self._turned_away(now)
        return expired

    def check_in_s(self, now: float) -> float:
        """When `expire` should be asked next, if anybody waits."""
        oldest_at = self._oldest_at(self._lines[:CRITICAL_PLUS], now)
        if self.standing(now):
            return max(0.0, oldest_at + STANDING_PATIENCE_S - now)
        return max(0.0, min(oldest_at, self._fine_at) + PATIENCE_S - now)

    def oldest_s(self, now: float) -> float:
        """How long the first one has waited; 0: nobody does."""
        return now - self._oldest_at(self._lines, now)

    def _turned_away(self, now: float) -> None:
        if self._standing:
            self._fine_at = now

    def _oldest_below(self, criticality: int) -> Waiter[T] | None:
        return next((next(iter(line)) for line in self._lines[:criticality] if line), None)

    @staticmethod
    def _oldest_at(lines: tuple[OrderedDict[Waiter[T], None], ...], now: float) -> float:
        return min((next(iter(line)).at for line in lines if line), default=now)


def room(limit: float) -> int:
    """How many may wait for `limit` places."""
    return min(int(ROOM_FACTOR * limit), ROOM_MAX)
