"""Real Postgres and Valkey for tests: one server each per session, a fresh migrated database and an empty Valkey per
test.

The servers are the ones `scalable-api up` starts (services/cli/embedded), without fsync, on unix sockets in one
temporary folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import redis.asyncio

from services.cli.embedded import postgres, valkey
from services.cli.embedded.child import Running
from services.runtime import migrate

T = TypeVar("T")
TEMPLATE = "migrated"


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs it on a loop of its own: session fixtures live outside the tests' loops."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(coroutine)


@contextlib.contextmanager
def folder(prefix: str = "sapi-test-") -> Iterator[Path]:
    """A temporary folder with a short name (sockets), gone at the end."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Database:
    """One test's database: a DSN per role."""

    name: str
    owner: str
    app: str
    gateway: str
    admin: str


@dataclass(slots=True)
class PostgresServer:
    """The session's Postgres; `database()` gives each test its own copy of the migrated template."""

    server: postgres.Server
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def dsns(self, name: str) -> Database:
        owner, app, gateway = (self.server.dsn_of(role, name) for role in ("owner", "app", "gateway"))
        return Database(name, owner, app, gateway, self.server.dsn_of(postgres.ADMIN, name))

    async def template(self) -> Database:
        """Makes the template: an empty database, then every migration, then the demo rows."""
        await self.execute(f"CREATE DATABASE {TEMPLATE} OWNER scalable_owner")
        made = self.dsns(TEMPLATE)
        await migrate.up(made.owner)
        await migrate.demo_rows(made.owner)
        return made

    @contextlib.asynccontextmanager
    async def database(self, template: str = TEMPLATE) -> AsyncIterator[Database]:
        name = f"test_{next(self.numbers)}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER scalable_owner")
        try:
            yield self.dsns(name)
        finally:
            await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    with folder() as path:
        server = run(postgres.start(path))
        try:
            yield PostgresServer(server)
        finally:
            server.stop()


@dataclass(slots=True)
class ValkeyServer:
    """A Valkey that a test may kill and start again: the URL stays."""

    path: Path
    running: Running

    @property
    def url(self) -> str:
        return self.running.dsn

    def kill(self) -> None:
        """SIGKILL: connections break, nothing is said."""
        self.running.process.kill()
        self.running.process.wait()

    async def start(self) -> None:
        self.running = await valkey.start(self.path)

    async def flush(self) -> None:
        client = redis.asyncio.Redis.from_url(self.url)
        try:
            await client.flushall()
            await client.script_flush()
        finally:
            await client.aclose()


@contextlib.contextmanager
def valkey_server() -> Iterator[ValkeyServer]:
    with folder() as path:
        server = ValkeyServer(path, run(valkey.start(path)))
        try:
            yield server
        finally:
            server.running.stop()
