"""Brings a database to this version's schema: `up`, `status`, `verify`; then grants, and the rows a fresh
installation needs.

One runner at a time (advisory lock; the others wait and find nothing to do). Each file is one transaction with its
own row in schema_migrations; a file that begins with `-- no-transaction` runs statement by statement. A lock that
others hold is waited for 2 s and tried five times, so that a migration never queues the whole service behind itself.
Called by `scalable-api migrate`, by `up` and by the tests; decisions: migrations.py.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg

from services.core.credentials import ID_LENGTH, SECRET_BYTES, key_hash, make_key, parse_key
from services.runtime import migrations
from services.runtime.log import get_log
from services.runtime.migrations import Applied, Migration, MigrationError
from services.runtime.password_hash import hash_password
from services.runtime.schema_dump import dump_schema
from services.runtime.statements import load

Postgres: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
LOCK: Final = 0x5CA1AB1E  # advisory lock number; any constant that nobody else uses
LOCK_TRIES: Final = 5
LOCK_TIMEOUT_MS: Final = 2000
POLL_S: Final = 0.2
ROLES: Final = ("scalable_app", "scalable_gateway")
DEMO_TIERS: Final = ("free", "pro", "enterprise")
_AWAY: Final = (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError, TimeoutError)
log = get_log(__name__)


def _data() -> Path:
    """`db/` of the checkout, or its copy in the wheel."""
    package = Path(__file__).resolve().parent.parent
    checkout = package.parent / "db"
    return checkout if checkout.is_dir() else package / "_data" / "db"


DB: Final = _data()
MIGRATIONS: Final = DB / "migrations"
SCHEMA: Final = DB / "schema.sql"
SQL: Final = load(Path(__file__).with_name("sql") / "migrate.sql")
DEMO: Final = load(DB / "demo.sql")
GRANTS: Final = load(DB / "grants.sql")


@dataclass(frozen=True, slots=True)
class Line:
    """One row of `migrate status`: `applied` None: pending; `known` False: newer than this version."""

    version: int
    filename: str
    applied: Applied | None
    known: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """What `up` did."""

    ran: tuple[str, ...]
    version: int


async def up(dsn: str, *, wait_s: float = 60.0, folder: Path = MIGRATIONS) -> Report:
    """Runs what is pending and grants; waits for a database that is not there yet. Raises MigrationError, OSError."""
    files = migrations.read(folder)
    async with connected(dsn, wait_s) as connection, _alone(connection, wait_s):
        applied = await _applied(connection)
        ran = [await _run(connection, migration) for migration in migrations.pending(files, applied)]
        await grant(connection)
    return Report(tuple(ran), max((row.version for row in applied), default=0) if not ran else len(files))


async def status(dsn: str, *, wait_s: float = 0.0, folder: Path = MIGRATIONS) -> list[Line]:
    """Every file and every row, by number."""
    files = migrations.read(folder)
    async with connected(dsn, wait_s) as connection:
        done = {row.version: row for row in await _applied(connection)}
    lines = [Line(m.version, m.filename, done.get(m.version)) for m in files]
    known = {m.version for m in files}
    return lines + [
        Line(row.version, row.filename, row, known=False) for row in done.values() if row.version not in known
    ]


async def verify(dsn: str, *, wait_s: float = 0.0, folder: Path = MIGRATIONS, schema: Path = SCHEMA) -> list[str]:
    """What is wrong with the database, in sentences; empty: checksums fit, nothing is pending, the schema is
    `db/schema.sql`.
    """
    files = migrations.read(folder)
    async with connected(dsn, wait_s) as connection:
        try:
            left = migrations.pending(files, await _applied(connection))
        except MigrationError as error:
            return [str(error)]
        found = await dump_schema(connection)
    wanted = await asyncio.to_thread(schema.read_text, encoding="utf-8")
    faults = [f"{migration.filename} has not run" for migration in left]
    if not left and found != wanted:
        faults.append(f"the schema differs from db/schema.sql: {first_difference(wanted, found)}")
    return faults


async def is_current(connection: Postgres, folder: Path = MIGRATIONS) -> bool:
    """Whether this version's files have all run: an api's readiness."""
    try:
        return not migrations.pending(migrations.read(folder), await _applied(connection))
    except (MigrationError, asyncpg.InsufficientPrivilegeError):
        return False


async def demo_rows(dsn: str, *, wait_s: float = 0.0) -> None:
    """Demo mode's two users and a hundred resources, once."""
    async with connected(dsn, wait_s) as connection, _alone(connection, wait_s):
        await connection.execute(DEMO["users"].sql, hash_password("admin123"), hash_password("user123"))
        if not await connection.fetchval(DEMO["has_resources"].sql):
            await connection.execute(DEMO["resources"].sql)


async def demo_keys(dsn: str, pepper_id: int, pepper: bytes) -> dict[str, str]:
    """New keys for the demo tiers, tier → key; earlier demo keys are void. The caller shows and keeps them: nobody
    can read them again.
    """
    made: dict[str, str] = {}
    async with connected(dsn, 0.0) as connection, connection.transaction():
        await connection.execute(DEMO["forget_keys"].sql)
        for tier in DEMO_TIERS:
            key = make_key("test", secrets.token_bytes(ID_LENGTH), secrets.token_bytes(SECRET_BYTES))
            name = parse_key(key.encode())
            assert name is not None  # noqa: S101  # make_key makes what parse_key takes
            await connection.execute(DEMO["key"].sql, name.id, key_hash(pepper, key.encode()), pepper_id, tier)
            made[tier] = key
    return made


async def first_admin(dsn: str, email: str, password: str | None) -> str | None:
    """Makes ADMIN_EMAIL an admin if there is none, to change the password at first login. The random password it
    chose, else None.
    """
    chosen = None if password else secrets.token_urlsafe(18)
    async with connected(dsn, 0.0) as connection, _alone(connection, 60.0):
        if await connection.fetchval(SQL["has_admin"].sql):
            return None
        await connection.execute(SQL["add_admin"].sql, email, hash_password(password or chosen or ""))
    return chosen


async def write_schema(dsn: str, path: Path = SCHEMA) -> None:
    """`./dev generate schema`, from a migrated database."""
    async with connected(dsn, 0.0) as connection:
        text = await dump_schema(connection)
    await asyncio.to_thread(path.write_text, text, encoding="utf-8")


async def grant(connection: Postgres) -> None:
    """The rights of the runtime roles that exist: they are made beforehand, by whoever runs the database."""
    for role in ROLES:
        if await connection.fetchval(SQL["role_exists"].sql, role):
            await connection.execute(GRANTS[role].sql)


@asynccontextmanager
async def connected(dsn: str, wait_s: float) -> AsyncIterator[Postgres]:
    """A connection with the migrations' timeouts; tries until `wait_s` is over."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            connection = await asyncpg.connect(dsn, timeout=5.0, server_settings=_SESSION)
            break
        except _AWAY:
            if time.monotonic() >= deadline:
                raise
            await asyncio.sleep(POLL_S)
    try:
        yield connection
    finally:
        await connection.close(timeout=5.0)


_SESSION: Final[dict[str, str]] = {
    "application_name": "scalable-migrate",
    "lock_timeout": str(LOCK_TIMEOUT_MS),
    "timezone": "UTC",
    "search_path": "public",
    "client_min_messages": "warning",
}


def first_difference(wanted: str, found: str) -> str:
    """The first line that differs, both ways; a list's commas are none."""
    wants, haves = ([line.rstrip(",") for line in text.splitlines()] for text in (wanted, found))
    for want, have in zip_longest(wants, haves, fillvalue="the end"):
        if want != have:
            return f"expected {want!r}, found {have!r}"
    return "only in commas"


async def _applied(connection: Postgres) -> list[Applied]:
    if not await connection.fetchval(SQL["exists"].sql):
        return []
    return [Applied(**dict(row)) for row in await connection.fetch(SQL["applied"].sql)]


@asynccontextmanager
async def _alone(connection: Postgres, wait_s: float) -> AsyncIterator[None]:
    """Polls instead of waiting in the server: a lock wait there would be cut by lock_timeout."""
    deadline = time.monotonic() + wait_s
    while not await connection.fetchval(SQL["lock"].sql, LOCK):
        if time.monotonic() >= deadline:
            raise MigrationError("another migration is running")
        await asyncio.sleep(POLL_S)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute(SQL["unlock"].sql, LOCK)


async def _run(connection: Postgres, migration: Migration) -> str:
    for attempt in range(1, LOCK_TRIES + 1):
        started = time.monotonic()
        try:
            if migration.transactional:
                async with connection.transaction():
                    await connection.execute(migration.sql)
                    await _record(connection, migration, started)
            else:
                for statement in migration.statements:
                    await connection.execute(statement)
                await _record(connection, migration, started)
        except asyncpg.LockNotAvailableError as error:
            if attempt == LOCK_TRIES:
                raise MigrationError(f"{migration.filename}: others hold what it needs: {error}") from error
            await asyncio.sleep(POLL_S * attempt)
        except asyncpg.PostgresError as error:
            raise MigrationError(f"{migration.filename}: {error}") from error
        else:
            log.info("migrated", file=migration.filename, ms=round(1000 * (time.monotonic() - started)))
            break
    return migration.filename


async def _record(connection: Postgres, migration: Migration, started: float) -> None:
    ms = round(1000 * (time.monotonic() - started))
    await connection.execute(SQL["record"].sql, migration.version, migration.filename, migration.checksum, ms)
