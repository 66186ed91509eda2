"""One look-up per credential at a time: whoever asks for the same one meanwhile waits for the first one's answer.

`authenticate` parks exchanges here; the answer resumes them all. At most FLIGHTS look-ups run at once: past that a
store in trouble would collect a queue of them, so further misses are refused at once (503). A message that says "this
identity has changed" while its look-up is under way marks the flight `dirty`: its answer may be older than the
change, so it serves those who wait and is not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

FLIGHTS: Final = 64

T = TypeVar("T")
Waiter = Callable[[T], None]


class Flight(Generic[T]):
    __slots__ = ("dirty", "name", "waiters")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiters: list[Waiter[T]] = []
        self.dirty = False


class Flights(Generic[T]):
    """Look-ups under way by digest of the credential."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight[T]] = {}

    def join(self, digest: bytes, waiter: Waiter[T]) -> bool:
        """True if a look-up of it was under way: `waiter` will hear its answer."""
        flight = self._flights.get(digest)
        if flight is not None:
            flight.waiters.append(waiter)
        return flight is not None

    def flying(self, digest: bytes) -> bool:
        return digest in self._flights

    def open(self, digest: bytes, name: str, waiter: Waiter[T] | None) -> Flight[T] | None:
        """A new flight, None when there are too many."""
        if len(self._flights) >= FLIGHTS:
            return None
        flight = self._flights[digest] = Flight(name)
        if waiter is not None:
            flight.waiters.append(waiter)
        return flight

    def land(self, digest: bytes, answer: T) -> None:
        """Tell everybody who waits. The flight is gone before the first one hears: it may ask anew."""
        flight = self._flights.pop(digest)
        for waiter in flight.waiters:
            waiter(answer)

    def soil(self, matches: Callable[[Flight[Any]], bool]) -> None:
        for flight in self._flights.values():
            flight.dirty = flight.dirty or matches(flight)
