"""One look-up per credential at a time: whoever asks for the same one meanwhile waits for the first one's answer.

`authenticate` parks exchanges here; the answer resumes them all. At most FLIGHTS look-ups run at once: past that a
store in trouble would collect a queue of them, so further misses are refused at once (503). A message that says "this
identity has changed" while its look-up is under way marks the flight `dirty`: its answer may be older than the
change, so it serves those who wait and is not kept.

`Remembered` is what `Keys` and `Sessions` have in common: the answers kept by digest, and how a message ends them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from services.gateway.identity import Denied, Identity, Lru

FLIGHTS: Final = 64
ENTRIES_MAX: Final = 50_000
AWAY: Final = Denied("dependency-unavailable")

T = TypeVar("T")
Waiter = Callable[[T], None]
Found = Identity | Denied


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

    def has_room(self, digest: bytes) -> bool:
        """For one that nobody waits for: it is not under way, and half of the places stay free for those who wait."""
        return digest not in self._flights and len(self._flights) < FLIGHTS // 2

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


@dataclass(slots=True)
class Entry:
    """An answer of a store. `name`: what a message calls it by, a key's id or a session's. Times are monotonic."""

    found: Found
    name: str
    fresh_until: float
    stale_until: float
    epoch: int
    refresh_at: float = float("inf")


class Remembered:
    """Kept answers and look-ups under way, by digest of the credential."""

    def __init__(self) -> None:
        self._entries: Lru[Entry] = Lru(ENTRIES_MAX)
        self._flights: Flights[Found] = Flights()
        self._epoch = 0
        self._secret = secrets.token_bytes(32)

    def forget(self, name: str) -> None:
        self._flights.soil(lambda flight: flight.name == name)
        self._drop(lambda entry: entry.name == name)

    def forget_user(self, user_id: str) -> None:
        self._flights.soil(lambda _flight: True)  # whose it is, is only known when it has landed
        self._drop(lambda entry: _user_of(entry.found) == user_id)

    def distrust(self) -> None:
        """Messages may have been missed: nothing is used before it was read again."""
        self._epoch += 1
        self._flights.soil(lambda _flight: True)

    def __len__(self) -> int:
        return len(self._entries)

    def _peek(self, digest: bytes) -> Identity | None:
        """Who this was when last asked; its age does not matter, nothing is counted or refreshed."""
        entry = self._entries.get(digest)
        return entry.found if entry is not None and isinstance(entry.found, Identity) else None

    def _keep(self, flight: Flight[Found], digest: bytes, entry: Entry) -> None:
        if flight.dirty:
            self._entries.pop(digest)
        else:
            self._entries.put(digest, entry)

    def _last(self, digest: bytes, now: float) -> tuple[Entry, Identity] | None:
        """The store is away: who it said this was, while that is young enough."""
        entry = self._entries.get(digest)
        if entry is None or isinstance(entry.found, Denied) or now >= entry.stale_until:
            return None
        return entry, entry.found

    def _drop(self, matches: Callable[[Entry], bool]) -> None:
        for digest, entry in self._entries.items():
            if matches(entry):
                self._entries.pop(digest)


def _user_of(found: Found) -> str | None:
    return found.claims.sub if isinstance(found, Identity) and found.claims is not None else None
