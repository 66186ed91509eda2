"""Stand-ins for the engine and the stores, shared by the gateway's unit tests."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from typing import Any

from services.core.identity import Claims
from services.core.verdicts import Outcome, Refusal
from services.gateway.clients import Clients
from services.gateway.identity import Identity
from services.gateway.routing import RouteRecord, RouteTable
from services.http1.exchange import PARKED_STATE, RUNNING, Exchange
from services.http1.runner import Pipeline
from services.runtime.gateway_store import KeyRow, OverrideRow, StoreAwayError
from services.runtime.metrics import Metrics
from services.schema.tiers import BUILT_IN, TiersDocument

PEPPER = bytes(range(32))


class Connection:
    """What a stage sees of a client's connection; keeps what it was told to answer."""

    def __init__(self, peer: str = "192.0.2.7") -> None:
        self.peer = (peer, 4711)
        self.memo: Any = None
        self.replies: list[Any] = []

    def reply(self, x: Exchange, out: Any) -> None:
        self.replies.append(out)

    def drop_upstream(self, x: Exchange) -> None: ...

    def cut(self, x: Exchange) -> None: ...


CLIENTS = Clients((ipaddress.ip_network("10.0.0.0/8"),))


def exchange(
    method: bytes = b"GET", path: bytes = b"/api/v1/status", *, peer: str = "192.0.2.7", **special: Any
) -> Exchange:
    """A request whose head is whole; `special` names have `_` for `-`."""
    connection: Any = Connection(peer)
    x = Exchange(connection, Pipeline(()), path, 10 << 20)
    x.method, x.host = method, b"api.example"
    x.started = x.now = time.monotonic()
    x.deadline = x.started + 30
    x.special = {name.replace("_", "-").encode(): value for name, value in special.items()}
    x.request_id, x.trace_id, x.span_id = b"req-1", b"1" * 32, b"2" * 16
    x.client = CLIENTS.of(x)
    x.state, x.ticket = RUNNING, 1
    return x


def park(x: Exchange) -> None:
    x.state = PARKED_STATE


def replies(x: Exchange) -> list[Any]:
    connection: Any = x.connection
    found: list[Any] = connection.replies
    return found


def metrics() -> Metrics:
    return Metrics("gateway", "1.0.0")


def table(document: TiersDocument = BUILT_IN) -> RouteTable:
    own = metrics()
    requests = own.counter("http_requests_total", "Requests", ("method", "route", "status"))
    made = RouteTable(requests, own.histogram("http_request_duration_seconds", "D", ("method", "route")), 10 << 20)
    made.use(document)
    return made


def record(method: bytes = b"GET", path: bytes = b"/api/v1/status") -> RouteRecord:
    return table().record(method, path)


def identity(role: str = "user", scopes: tuple[str, ...] = ("read",), tier: str = "pro") -> Identity:
    claims = Claims("00000000-0000-0000-0000-000000000001", "0123456789", "", "key", role, tier, scopes, 0)
    return Identity("key:0123456789", tier, "key", claims)


def key_row(key_id: str, key_hash: bytes, **more: Any) -> KeyRow:
    row: dict[str, Any] = {"pepper_id": 1, "user_id": "00000000-0000-0000-0000-000000000001", "tier": "pro"}
    row |= {"scopes": ("read",), "role": "user", "seconds_left": None, "revoked": False, "disabled": False}
    return KeyRow(id=key_id, key_hash=key_hash, **{**row, **more})


class Store:
    """Postgres as the gateway sees it; `away` makes every call fail, `calls` counts them."""

    def __init__(self) -> None:
        self.keys: dict[str, KeyRow] = {}
        self.rows: list[OverrideRow] = []
        self.away = False
        self.calls = 0

    async def key(self, key_id: str) -> KeyRow | None:
        self.calls += 1
        if self.away:
            raise StoreAwayError("away")
        return self.keys.get(key_id)

    async def overrides(self) -> list[OverrideRow]:
        self.calls += 1
        if self.away:
            raise StoreAwayError("away")
        return list(self.rows)


class Batch:
    """The batch connection: keeps what was submitted; the test answers."""

    def __init__(self) -> None:
        self.open = False
        self.sent: list[tuple[bytes, Callable[[Any, Any], None], Any]] = []

    def submit(self, data: bytes, sink: Callable[[Any, Any], None], ticket: Any) -> bool:
        if self.open:
            return False
        self.sent.append((data, sink, ticket))
        return True

    def answer(self, reply: Any) -> None:
        _, sink, ticket = self.sent.pop(0)
        sink(ticket, reply)


class Guard:
    """The policy `credential-ip`: refuses the networks in `refused`, keeps who failed."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.failures: list[str] = []

    def blocked(self, network: str) -> Refusal | None:
        return Refusal("abnormal-usage-detected", "attempts", retry_after_s=9) if network in self.refused else None

    def failed(self, network: str) -> None:
        self.failures.append(network)


def slug(out: Outcome) -> str:
    assert isinstance(out, Refusal), out
    return out.slug
