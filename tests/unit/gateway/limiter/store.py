"""A Redis for unit tests: core/limits.py behind RedisBatch's interface, on a clock the test moves."""

from __future__ import annotations

from typing import Any

import hiredis

from services.gateway.limiter import Decision, Limiter
from services.runtime.redis_batch import LOST, Sink
from services.schema.tiers import BUILT_IN, TiersDocument
from tests.harness.counters import Counters

WALL = 1_700_000_040.0  # begins a minute


class Store:
    """What several gateways share: the keys and the clock (seconds since the test began)."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.now = 0.0
        self.away = False

    @property
    def us(self) -> int:
        return round((WALL + self.now) * 1e6)

    def note(self, data: bytes) -> list[bytes]:
        """Leases are given back and renewed by commands of their own."""
        parser = hiredis.Reader()
        parser.feed(data)
        parts: list[bytes] = parser.gets()
        self.counters.leases(parts)
        return parts

    def run(self, data: bytes) -> Any:
        parser = hiredis.Reader(encoding="utf-8")
        parser.feed(data)
        return self.counters.evalsha(parser.gets()[2:], self.us)


class FakeBatch:
    """One gateway's connection: replies come with `flush`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sent: list[bytes] = []
        self.others: list[list[bytes]] = []  # commands that are no script
        self.failures = 0
        self._waiting: list[tuple[bytes, Sink, Any]] = []

    @property
    def open(self) -> bool:
        return self.store.away

    @property
    def degraded(self) -> bool:
        return self.open

    def submit(self, data: bytes, sink: Sink, ticket: Any) -> bool:
        if self.open:
            return False
        if b"EVALSHA" not in data:
            self.others.append(self.store.note(data))
            return True
        self.sent.append(data)
        self._waiting.append((data, sink, ticket))
        return True

    def distrust(self) -> None:
        self.failures += 1

    def flush(self, reply: Any = None) -> None:
        waiting, self._waiting = self._waiting, []
        for data, sink, ticket in waiting:
            sink(ticket, self.store.run(data) if reply is None else reply)

    def lose(self) -> None:
        self.flush(LOST)


class Caller:
    def __init__(self, identifier: str = "ip:192.0.2.1", tier: str = "anonymous", owner: str = "") -> None:
        self.identifier, self.tier, self.owner = identifier, tier, owner
        self.limiter: Any = None


class Gateway:
    """A limiter over the store; `ask` is one request, answered at once."""

    def __init__(
        self,
        store: Store,
        document: TiersDocument = BUILT_IN,
        *,
        gateways: int = 1,
        enabled: bool = True,
        lease_min_quota: int = 0,
    ) -> None:
        self.store = store
        self.batch = FakeBatch(store)
        self.limiter = Limiter(
            self.batch,  # type: ignore[arg-type]  # the same questions in words
            document,
            enabled=enabled,
            lease_min_quota=lease_min_quota,
            gateways=lambda: gateways,
            clock=lambda: store.now,
            wall=lambda: WALL + store.now,
            draw=lambda: 0.0,
        )

    def ask(self, caller: Caller, cost: int = 1, client: str = "192.0.2.1") -> Decision:
        subject = self.limiter.subject(caller, client, self.store.now)
        got: list[Decision] = []
        decision = self.limiter.check(subject, cost, self.store.now, lambda _, d: got.append(d), None)
        if decision is None:
            self.batch.flush()
            decision = got[0]
        return decision

    def admitted(self, caller: Caller, times: int, cost: int = 1) -> int:
        return sum(self.ask(caller, cost).admitted for _ in range(times))
