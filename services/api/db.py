"""Postgres for the api: one pool, named statements, and faults translated where they happen.

A repository gets a `Connection` and runs `Statement`s; nothing above sees asyncpg. While Postgres is away a breaker
answers at once instead of letting every request wait for a connection (reliability.md P6: the first ones take up to
five seconds, the rest 100 ms). A COMMIT whose reply was lost is neither success nor failure: `OutcomeUnknownError`
says so, and idempotency.py finds out.

    DatabaseError
      ├─ UnavailableError          no connection, breaker open, server stopping, statement timeout
      ├─ OutcomeUnknownError       the connection was lost inside COMMIT
      ├─ LockedError               lock_timeout ran out
      └─ DuplicateError            a unique constraint: `constraint`
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import asyncpg

from services.runtime.log import get_log
from services.runtime.migrate import is_current
from services.runtime.statements import Statement

if TYPE_CHECKING:
    from services.api.metrics import ApiMetrics
    from services.runtime.settings import ApiSettings

T = TypeVar("T")
Called = Callable[[str, float], None]
"""Hears of each statement: a name and how many seconds it took (tracing.py)."""
Row = asyncpg.Record
log = get_log(__name__)

POOL_MIN: Final = 2
ACQUIRE_S: Final = 2.0  # longer than any burst of ours waits for one of ten connections
CONNECT_S: Final = 3.0  # with ACQUIRE_S below the five seconds of P6
COMMAND_S: Final = 10.0  # the server's own statement timeout (5 s) comes first; this is for a server that says nothing
COOL_S: Final = 0.5  # how long the breaker stays open before one request may try again: the pool is back within 2 s
PROBE: Final = Statement("db.probe", "SELECT 1")
SESSION: Final = {
    "application_name": "scalable-api",
    "statement_timeout": "5000",
    "idle_in_transaction_session_timeout": "30000",
    "default_transaction_isolation": "read committed",
    "timezone": "UTC",
}


class DatabaseError(Exception):
    """A fault of the store, not of the statement."""


class UnavailableError(DatabaseError):
    """Nothing was done."""


class OutcomeUnknownError(DatabaseError):
    """Something may have been done."""


class LockedError(DatabaseError):
    """Another transaction holds what this one wants."""


class DuplicateError(DatabaseError):
    """Such a row is there already."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


GONE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.TooManyConnectionsError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)


class Connection:
    """A connection in use: statements by name, timed, their faults translated."""

    def __init__(self, raw: Any, database: Database) -> None:
        self.raw = raw
        self._database = database

    async def rows(self, statement: Statement, *args: object) -> list[Row]:
        return await self._timed(statement, self.raw.fetch(statement.sql, *args))

    async def row(self, statement: Statement, *args: object) -> Row | None:
        return await self._timed(statement, self.raw.fetchrow(statement.sql, *args))

    async def value(self, statement: Statement, *args: object) -> Any:
        return await self._timed(statement, self.raw.fetchval(statement.sql, *args))

    async def run(self, statement: Statement, *args: object) -> int:
        """How many rows it changed."""
        status: str = await self._timed(statement, self.raw.execute(statement.sql, *args))
        count = status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What happens inside is undone alone if it raises."""
        async with self.raw.transaction():
            yield

    async def _timed(self, statement: Statement, work: Awaitable[T]) -> T:
        started = time.perf_counter()
        try:
            with self._database.translated():
                return await work
        finally:
            self._database.measured(statement.name, time.perf_counter() - started)


class Database:
    """The pool. Opening never fails: a process whose store is away starts degraded and heals by itself."""

    def __init__(self, settings: ApiSettings, metrics: ApiMetrics, called: Called | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._called = called
        self._pool: asyncpg.Pool[Row] | None = None
        self._shut_until = 0.0  # monotonic: before it, everything is refused at once
        self._checked = False
        self.schema_current = True  # false only once the database has said that migrations are missing

    async def open(self) -> None:
        self._pool = await asyncpg.create_pool(
            self._settings.database_url,
            min_size=0,  # connecting at once would make a store's outage a failed start
            max_size=self._settings.pg_pool_max,
            timeout=CONNECT_S,
            command_timeout=COMMAND_S,
            server_settings=SESSION,
        )
        await asyncio.gather(*(self.probe() for _ in range(min(POOL_MIN, self._settings.pg_pool_max))))

    async def close(self, within_s: float = 2.0) -> None:
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            async with asyncio.timeout(within_s):
                await pool.close()
        except (TimeoutError, asyncpg.InterfaceError):
            pool.terminate()

    async def probe(self) -> bool:
        """Whether it answers now, tried even while the breaker is open; health.py asks each five seconds."""
        self._shut_until = 0.0
        try:
            async with self.read() as connection:
                await connection.value(PROBE)
                if not self._checked:
                    self.schema_current = self._checked = await is_current(connection.raw)
        except DatabaseError:
            return False
        return True

    def pool_state(self) -> dict[tuple[str, ...], float]:
        """Connections by state, for `api_db_pool`."""
        size = self._pool.get_size() if self._pool else 0
        idle = self._pool.get_idle_size() if self._pool else 0
        return {("idle",): idle, ("busy",): size - idle}

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A connection without a transaction: for single statements that change nothing."""
        raw = await self._acquire()
        try:
            yield Connection(raw, self)
        finally:
            await self._release(raw)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Commits when the block ends, rolls back when it raises."""
        raw = await self._acquire()
        try:
            block = raw.transaction()
            with self.translated():
                await block.start()
            try:
                yield Connection(raw, self)
            except BaseException:
                with contextlib.suppress(*GONE):
                    await block.rollback()
                raise
            try:
                await block.commit()
            except GONE as error:
                self._failed(error)
                raise OutcomeUnknownError(str(error)) from error
        finally:
            await self._release(raw)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """The driver's exceptions become ours; only those that speak of the store open the breaker."""
        try:
            yield
        except asyncpg.QueryCanceledError as error:
            raise UnavailableError("the statement took too long") from error
        except asyncpg.LockNotAvailableError as error:
            raise LockedError(str(error)) from error
        except asyncpg.UniqueViolationError as error:
            raise DuplicateError(error.constraint_name or "") from error
        except GONE as error:
            self._failed(error)
            raise UnavailableError(str(error)) from error

    def measured(self, name: str, seconds: float) -> None:
        self._metrics.db_seconds.series(name).observe(seconds)
        if self._called is not None:
            self._called(f"sql {name}", seconds)
        if seconds * 1000 >= self._settings.slow_query_ms:
            log.warning("slow query", query=name, ms=round(seconds * 1000, 1), slow=True)

    def _failed(self, error: BaseException) -> None:
        """The store is away: refuse at once for a moment."""
        self._metrics.dependency("database", up=False)
        if self._shut_until == 0.0:
            log.warning("database is away", error=type(error).__name__, text=str(error))
        self._shut_until = time.monotonic() + COOL_S

    async def _acquire(self) -> Any:
        if self._pool is None or time.monotonic() < self._shut_until:
            raise UnavailableError("the database is away")
        started = time.monotonic()
        try:
            raw = await self._pool.acquire(timeout=ACQUIRE_S)
        except GONE as error:
            self._failed(error)
            raise UnavailableError(str(error)) from error
        self._shut_until = 0.0
        self._metrics.dependency("database", up=True, seconds=time.monotonic() - started)
        return raw

    async def _release(self, raw: Any) -> None:
        if self._pool is not None:
            with contextlib.suppress(*GONE):
                await self._pool.release(raw, timeout=1.0)
