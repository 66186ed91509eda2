"""Table `resources`. `metadata` passes as JSON text both ways: nobody here looks inside. Called by api/resources.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from services.api.db import Connection, Row
from services.runtime.statements import load

SQL: Final = load(Path(__file__).parent / "sql" / "resources.sql")


@dataclass(frozen=True, slots=True)
class Resource:
    """`metadata` is JSON text; `content` None in lists."""

    id: int
    name: str
    type: str
    content: str | None
    metadata: str
    version: int
    created_by: str | None
    updated_by: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewResource:
    """What a writer gives."""

    name: str
    type: str
    content: str
    metadata: str


@dataclass(frozen=True, slots=True)
class Held:
    """A row locked until the transaction ends."""

    version: int
    created_by: str | None


async def get(connection: Connection, number: int) -> Resource | None:
    row = await connection.row(SQL["get"], number)
    return _resource(row) if row is not None else None


async def page(connection: Connection, kind: str | None, limit: int, offset: int) -> tuple[list[Resource], int]:
    """Newest first, and how many there are in all."""
    rows = await connection.rows(SQL["page"], kind, limit, offset)
    return [_resource(row) for row in rows], int(await connection.value(SQL["count"], kind))


async def create(connection: Connection, new: NewResource, author: str) -> Resource:
    row = await connection.row(SQL["create"], new.name, new.type, new.content, new.metadata, author)
    return _resource(row)


async def lock(connection: Connection, number: int) -> Held | None:
    row = await connection.row(SQL["lock"], number)
    return Held(row["version"], _text(row["created_by"])) if row is not None else None


async def change(connection: Connection, number: int, new: NewResource, author: str) -> Resource:
    """Of a row that is locked."""
    row = await connection.row(SQL["change"], number, new.name, new.type, new.content, new.metadata, author)
    return _resource(row)


async def delete(connection: Connection, number: int) -> None:
    await connection.run(SQL["delete"], number)


def _resource(row: Row | None) -> Resource:
    assert row is not None  # noqa: S101  # RETURNING of one row
    values: dict[str, Any] = {"content": None, **dict(row)}
    values["created_by"], values["updated_by"] = _text(row["created_by"]), _text(row["updated_by"])
    return Resource(**values)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
