"""Rows of `idempotency_keys`: inserted first in the effect's transaction, finished with its answer (reliability.md
6).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.api.db import Connection
from services.runtime.statements import load

SQL: Final = load(Path(__file__).with_name("sql") / "idempotency.sql")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a key is unique in."""

    principal: str
    method_route: str
    key: str


@dataclass(frozen=True, slots=True)
class Stored:
    """`status` None: the first request has not ended (it cannot be seen like that from outside its transaction)."""

    fingerprint: bytes
    status: int | None
    headers: Mapping[str, str]
    body: bytes


async def begin(connection: Connection, scope: Scope, fingerprint: bytes) -> bool:
    """True: the key is ours. False: it was used. Raises LockedError when a twin still runs after a second."""
    await connection.run(SQL["wait_a_second"])
    await connection.run(SQL["forget_expired"], scope.principal, scope.method_route, scope.key)
    ours = await connection.run(SQL["begin"], scope.principal, scope.method_route, scope.key, fingerprint) > 0
    await connection.run(SQL["wait_as_usual"])
    return ours


async def find(connection: Connection, scope: Scope) -> Stored | None:
    row = await connection.row(SQL["find"], scope.principal, scope.method_route, scope.key)
    if row is None:
        return None
    return Stored(row["fingerprint"], row["status"], json.loads(row["headers"] or "{}"), row["body"] or b"")


async def finish(connection: Connection, scope: Scope, status: int, headers: Mapping[str, str], body: bytes) -> None:
    await connection.run(
        SQL["finish"], scope.principal, scope.method_route, scope.key, status, json.dumps(dict(headers)), body
    )
