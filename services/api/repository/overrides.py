"""Table `rate_limit_configs`: one identifier's own limit instead of its tier's. Called by api/overrides.py and
limits.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from services.api.db import Connection, Row
from services.runtime.statements import load

SQL: Final = load(Path(__file__).parent / "sql" / "overrides.sql")


@dataclass(frozen=True, slots=True)
class NewOverride:
    """`requests_per_minute` 0 blocks; `burst_limit` None: the tier's burst goes on; `expires_at` None: never."""

    identifier: str
    requests_per_minute: int
    burst_limit: int | None
    mode: str
    reason: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Override:
    id: str
    identifier: str
    requests_per_minute: int
    burst_limit: int | None
    mode: str
    reason: str
    created_by: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None


async def page(connection: Connection, limit: int, offset: int) -> tuple[list[Override], int]:
    """Newest first, and how many there are in all; expired ones too, until they are deleted."""
    rows = await connection.rows(SQL["page"], limit, offset)
    return [_override(row) for row in rows], int(await connection.value(SQL["count"]))


async def candidates(connection: Connection, names: list[str], *, prefixes: bool) -> list[Override]:
    """Those in force under one of the names, and with `prefixes` every one for a range of addresses."""
    return [_override(row) for row in await connection.rows(SQL["candidates"], names, prefixes)]


async def get(connection: Connection, override_id: str) -> Override | None:
    row = await connection.row(SQL["get"], override_id)
    return _override(row) if row is not None else None


async def lock(connection: Connection, override_id: str) -> Override | None:
    row = await connection.row(SQL["lock"], override_id)
    return _override(row) if row is not None else None


async def create(connection: Connection, new: NewOverride, author: str) -> Override:
    """An expired one of the same identifier makes room. Raises DuplicateError for one in force."""
    await connection.run(SQL["expired"], new.identifier)
    return _override(await connection.row(SQL["create"], *_values(new), author))


async def change(connection: Connection, override_id: str, new: NewOverride) -> Override:
    """Of a row that is locked. Raises DuplicateError if another one has the identifier."""
    return _override(await connection.row(SQL["change"], override_id, *_values(new)))


async def delete(connection: Connection, override_id: str) -> None:
    await connection.run(SQL["delete"], override_id)


def _values(new: NewOverride) -> tuple[object, ...]:
    return new.identifier, new.requests_per_minute, new.burst_limit, new.mode, new.reason, new.expires_at


def _override(row: Row | None) -> Override:
    assert row is not None  # noqa: S101  # RETURNING of one row
    return Override(**{**dict(row), "id": str(row["id"]), "created_by": str(row["created_by"])})
