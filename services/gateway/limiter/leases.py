"""What this gateway has in flight under limits on concurrency: a lease per request, in a sorted set per caller.

A lease is taken by the limiter's script together with the request's units, given back when the request has ended, and
renewed while it lasts; the leases of a gateway that died end by themselves (core/limits.py: LEASE_MS). Redis away:
the leases held here are counted against this gateway's share, those taken meanwhile are entered when it is back, and
so are all others if it came back empty.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count
from typing import Any, Final, Protocol

from services.core.limits import LEASE_MS
from services.runtime.redis_batch import Sink
from services.runtime.resp import command

RENEW_S: Final = 10.0  # twice lost, a renewal still comes in time
MEMBERS_MAX: Final = 200  # of one ZADD: a short step for Redis
FORGOTTEN_MAX: Final = 10_000  # those that cannot be given back now; the rest end by themselves


class Lease:
    """One request in flight. `renew_at`: monotonic."""

    __slots__ = ("key", "name", "renew_at")

    def __init__(self, key: str, name: bytes, renew_at: float) -> None:
        self.key = key
        self.name = name
        self.renew_at = renew_at


class Batch(Protocol):
    """The connection to Redis: takes a command, or says at once that Redis is away."""

    def submit(self, data: bytes, sink: Sink, ticket: Any) -> bool: ...


class Leases:
    """`us(now)` is the store's clock."""

    def __init__(self, batch: Batch, us: Callable[[float], int]) -> None:
        self._batch, self._us = batch, us
        self._own = secrets.token_hex(6)
        self._numbers = count()
        self._held: dict[bytes, Lease] = {}
        self._by_key: dict[str, int] = {}
        self._forgotten: list[tuple[str, bytes]] = []
        self._stale = False

    def name(self) -> bytes:
        """A name no other request of any gateway has; all are equally long."""
        return f"{self._own}{next(self._numbers):012x}".encode()

    def held(self, key: str) -> int:
        return self._by_key.get(key, 0)

    def take(self, key: str, name: bytes, now: float) -> Lease:
        lease = self._held[name] = Lease(key, name, now + RENEW_S)
        self._by_key[key] = self._by_key.get(key, 0) + 1
        return lease

    def give_back(self, lease: Lease) -> None:
        """The request has ended."""
        if self._held.pop(lease.name, None) is None:
            return
        left = self._by_key.pop(lease.key) - 1
        if left:
            self._by_key[lease.key] = left
        self.void(lease.key, lease.name)

    def void(self, key: str, name: bytes) -> None:
        """Nobody holds it, and Redis may have granted it."""
        if not self._batch.submit(command("ZREM", key, name), _ignore, None) and len(self._forgotten) < FORGOTTEN_MAX:
            self._forgotten.append((key, name))

    def distrust(self) -> None:
        """Redis was away: it may have lost what it knew."""
        self._stale = True

    def sweep(self, now: float) -> None:
        """Once a second: enters again what is due, and gives back what could not be given back before."""
        forgotten, self._forgotten = self._forgotten, []
        for key, name in forgotten:
            self.void(key, name)
        due: dict[str, list[Lease]] = {}
        for lease in self._held.values():
            if self._stale or now >= lease.renew_at:
                due.setdefault(lease.key, []).append(lease)
        failed = sum(not self._renew(key, leases, now) for key, leases in due.items())
        self._stale = self._stale and failed > 0

    def _renew(self, key: str, leases: list[Lease], now: float) -> bool:
        end = str(self._us(now) // 1000 + LEASE_MS)
        for at in range(0, len(leases), MEMBERS_MAX):
            some = leases[at : at + MEMBERS_MAX]
            pairs = [part for lease in some for part in (end, lease.name)]
            if not self._batch.submit(command("ZADD", key, *pairs), _ignore, None):
                return False
            for lease in some:
                lease.renew_at = now + RENEW_S
        return self._batch.submit(command("PEXPIRE", key, str(LEASE_MS)), _ignore, None)


def _ignore(_ticket: Any, _reply: Any) -> None:
    """Lost ones are renewed again, or end by themselves."""
