"""Rows of `api_keys`, with what the API shows beside them: state, successor, override.

`owner` None means anybody's (the admin routes); else the owner stands in the WHERE of every query, so another owner's
key is simply not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from services.api.db import Connection, Row
from services.runtime.statements import load

SQL: Final = load(Path(__file__).with_name("sql") / "keys.sql")
USERS: Final = load(Path(__file__).with_name("sql") / "users.sql")


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """`name` is a substring of the name, or the whole id."""

    owner: str | None
    status: str | None
    tier: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Owner:
    id: str
    role: str
    tier: str
    disabled: bool


@dataclass(frozen=True, slots=True)
class Locked:
    """A key under change."""

    id: str
    user_id: str
    revoked: bool
    expired: bool
    rotated: bool
    name: str
    tier: str
    scopes: tuple[str, ...]
    env: str
    life: timedelta | None


@dataclass(frozen=True, slots=True)
class NewKey:
    id: str
    user_id: str
    key_hash: bytes
    pepper_id: int
    name: str
    tier: str
    scopes: tuple[str, ...]
    env: str
    created_by: str
    life: timedelta | None
    replaces: str | None = None


async def one(connection: Connection, key_id: str, owner: str | None) -> Row | None:
    return await connection.row(SQL["one"], key_id, owner)


async def page(connection: Connection, wanted: KeyFilter, limit: int, offset: int) -> tuple[list[Row], int]:
    """The rows, newest first, and how many there are in all."""
    pattern = None if wanted.name is None else f"%{_escaped(wanted.name)}%"
    values = (wanted.owner, wanted.tier, pattern, wanted.name, wanted.status)
    total = await connection.value(SQL["count"], *values)
    return (await connection.rows(SQL["page"], *values, limit, offset) if total > offset else []), total


async def lock_owner(connection: Connection, user_id: str) -> Owner | None:
    """Locks the owner's row: their keys are counted and made one after the other."""
    row = await connection.row(USERS["lock_owner"], user_id)
    return None if row is None else Owner(row["id"], row["role"], row["tier"], row["disabled_at"] is not None)


async def count_active(connection: Connection, user_id: str) -> int:
    """Neither revoked, expired nor rotated."""
    count: int = await connection.value(SQL["count_active"], user_id)
    return count


async def insert(connection: Connection, key: NewKey) -> None:
    await connection.run(
        SQL["insert"],
        key.id,
        key.user_id,
        key.key_hash,
        key.pepper_id,
        key.name,
        key.tier,
        list(key.scopes),
        key.env,
        key.created_by,
        key.life,
        key.replaces,
    )


async def lock(connection: Connection, key_id: str, owner: str | None) -> Locked | None:
    row = await connection.row(SQL["lock"], key_id, owner)
    return None if row is None else Locked(**{**dict(row), "scopes": tuple(row["scopes"])})


async def change(
    connection: Connection,
    key_id: str,
    name: str | None,
    scopes: tuple[str, ...] | None,
    expires: tuple[datetime | None] | None,
) -> None:
    """None leaves a column as it is; `expires` is a tuple of one, since None is a value there."""
    await connection.run(
        SQL["change"],
        key_id,
        name,
        None if scopes is None else list(scopes),
        expires is not None,
        expires[0] if expires else None,
    )


async def revoke(connection: Connection, key_id: str, by: str, reason: str | None) -> None:
    await connection.run(SQL["revoke"], key_id, by, reason)


async def end_soon(connection: Connection, key_id: str, grace: timedelta) -> datetime:
    """The old key's end: the earlier of its own and now + grace."""
    end: datetime = await connection.value(SQL["end_soon"], key_id, grace)
    return end


async def carry_override(connection: Connection, old_id: str, new_id: str) -> bool:
    """A live override of the old key holds for the new one too."""
    return await connection.run(SQL["carry_override"], old_id, new_id) > 0


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
