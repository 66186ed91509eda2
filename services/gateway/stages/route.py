"""Third: what the path is (template, cost, criticality, limits), and what needs no next hop: OPTIONS, health, a
wrong method, a WebSocket handshake that is none.

Everything after it asks `x.route` instead of the path. A path no template knows keeps the label `other` and goes on:
the api owns the 404 and the dashboard's files.
"""

from __future__ import annotations

from typing import Protocol

from services.core.routes import find
from services.core.verdicts import Answer, Outcome, Refusal
from services.gateway.cors import Cors
from services.gateway.routing import RouteRecord, RouteTable
from services.http1.exchange import Exchange
from services.http1.tunnel import handshake

ANY: bytes = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


class Health(Protocol):
    """How this process is: the answer to one of its health paths."""

    def answer(self, template: str) -> Answer: ...


class Route:
    def __init__(self, table: RouteTable, health: Health, cors: Cors) -> None:
        self._table, self._health, self._cors = table, health, cors

    def __call__(self, x: Exchange) -> Outcome:
        record = x.route = self._table.record(x.method, x.path)
        x.cost = record.cost
        x.class_slow = record.slow
        x.body_max = min(x.body_max, record.body_limit)
        if x.method == b"OPTIONS":
            return self._cors.options(x, allow_of(x.path))
        if record.refusal is not None:
            return record.refusal
        if record.upgrade:
            return handshake(x)
        return self._health.answer(record.template) if record.health else None


def decide(record: RouteRecord) -> Refusal | None:
    """For explain: what a request with this record gets here."""
    return record.refusal


def allow_of(path: bytes) -> bytes:
    """The Allow field of a path: its template's methods, or all of ours where nobody knows."""
    route = find(path)
    if route is None:
        return ANY
    return ", ".join([*sorted(method.decode() for method in route.methods), "OPTIONS"]).encode()
