"""Idempotency-Key: the same request twice has one effect and one answer (contract.md 1, reliability.md 6).

The key's row is inserted first in the transaction of the effect, so a crash leaves neither. A repeat gets the stored
answer, secrets left out; a twin that still runs is waited for one second. A COMMIT without a reply is looked up on a
new connection. Refusals of the effect (4xx but 429) are kept as answers, the effect undone; 429 and 5xx are not kept.

A route gives its effect: `return await services.idempotency.perform(request, who, effect)`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response

from services.api.access import Caller
from services.api.db import Connection, LockedError, OutcomeUnknownError
from services.api.errors import Detail, Problem, document, invalid
from services.api.repository import idempotency as repository
from services.api.repository.idempotency import Scope, Stored
from services.core.fields import Token, parse_item

if TYPE_CHECKING:
    from services.api.db import Database
    from services.api.metrics import ApiMetrics

KEY_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Reply:
    """What the effect answers. `secrets` are members of `body` that are shown once and never stored."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    def response(self) -> Response:
        return Response(_json(self.body), self.status, dict(self.headers), "application/json")

    @property
    def kept(self) -> bytes:
        return _json({name: value for name, value in self.body.items() if name not in self.secrets})


Effect = Callable[[Connection], Awaitable[Reply]]


class Idempotency:
    def __init__(self, db: Database, metrics: ApiMetrics, base_uri: str) -> None:
        self._db = db
        self._metrics = metrics
        self._base_uri = base_uri

    async def perform(self, request: Request, who: Caller, effect: Effect) -> Response:
        """Runs `effect` in a transaction, once per key."""
        key = key_of(request.headers.getlist("idempotency-key"))
        if key is None:
            async with self._db.transaction() as connection:
                reply = await effect(connection)
            return reply.response()
        scope = Scope(who.principal, f"{request.method} {request.scope['route'].path}", key)
        print_ = await fingerprint(request)
        try:
            return await self._once(request, who, scope, print_, effect)
        except LockedError:
            text = "The first request with this Idempotency-Key is still running."
            raise Problem("conflict", text, retry_after_s=1, reason="in-progress") from None
        except OutcomeUnknownError:
            async with self._db.read() as connection:
                stored = await repository.find(connection, scope)
            if stored is None:
                raise
            return self._repeat(stored, print_)

    async def _once(self, request: Request, who: Caller, scope: Scope, print_: bytes, effect: Effect) -> Response:
        async with self._db.transaction() as connection:
            if not await repository.begin(connection, scope, print_):
                stored = await repository.find(connection, scope)
                if stored is None:  # the twin ended and undid itself between our two statements
                    raise LockedError("gone")
                return self._repeat(stored, print_)
            try:
                async with connection.savepoint():
                    reply = await effect(connection)
            except Problem as problem:
                if problem.status == 429 or problem.status >= 500:
                    raise
                body = _json(document(problem, self._base_uri, request.url.path, who.request_id))
                headers = {**problem.headers, "content-type": "application/problem+json"}
                await repository.finish(connection, scope, problem.status, headers, body)
                refused: Problem | None = problem
            else:
                headers = {**reply.headers, "content-type": "application/json"}
                await repository.finish(connection, scope, reply.status, headers, reply.kept)
                refused = None
        if refused is not None:
            raise refused
        return reply.response()

    def _repeat(self, stored: Stored, print_: bytes) -> Response:
        if stored.fingerprint != print_:
            raise Problem("idempotency-mismatch")
        self._metrics.replays.n += 1
        return Response(stored.body, stored.status or 200, {**stored.headers, "Idempotency-Replayed": "true"})


def key_of(values: list[str]) -> str | None:
    """The header's string; None without one. Raises 400 for what is no structured-field string of 1…255 characters."""
    if not values:
        return None
    item = parse_item(values[0]) if len(values) == 1 else None
    key = item.value if item is not None and isinstance(item.value, str) and not isinstance(item.value, Token) else ""
    if not 0 < len(key) <= KEY_MAX:
        text = f'must be one quoted string of 1 to {KEY_MAX} characters: "8e03978e-40d5-43e8"'
        raise invalid(Detail("Idempotency-Key", text, "header"))
    return key


async def fingerprint(request: Request) -> bytes:
    """What must be equal for a repeat to be one: target and body."""
    target = f"{request.url.path}?{request.url.query}".encode()
    return hashlib.sha256(target + b"\0" + await request.body()).digest()


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
