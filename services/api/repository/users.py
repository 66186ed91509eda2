"""Rows of `users`. Every function takes the connection of the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.api.db import Connection, Row
from services.runtime.statements import load

SQL: Final = load(Path(__file__).with_name("sql") / "users.sql")


@dataclass(frozen=True, slots=True)
class UserRow:
    id: str
    email: str
    password_hash: str | None
    role: str
    tier: str
    must_change_password: bool
    disabled: bool


async def by_email(connection: Connection, email: str) -> UserRow | None:
    """Case makes no difference."""
    return _user(await connection.row(SQL["by_email"], email))


async def by_id(connection: Connection, user_id: str) -> UserRow | None:
    return _user(await connection.row(SQL["by_id"], user_id))


async def oldest_admin(connection: Connection) -> UserRow | None:
    """Whom a one-time link logs in."""
    return _user(await connection.row(SQL["oldest_admin"]))


async def logged_in(connection: Connection, user_id: str, better_hash: str | None) -> None:
    """`better_hash`: the password hashed anew with the current parameters."""
    await connection.run(SQL["logged_in"], user_id, better_hash)


async def set_password(connection: Connection, user_id: str, password_hash: str) -> None:
    await connection.run(SQL["set_password"], user_id, password_hash)


def _user(row: Row | None) -> UserRow | None:
    if row is None:
        return None
    return UserRow(
        row["id"],
        row["email"],
        row["password_hash"],
        row["role"],
        row["tier"],
        row["must_change_password"],
        row["disabled_at"] is not None,
    )
