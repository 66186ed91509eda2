from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from services.api.db import (
    PROBE,
    Connection,
    Database,
    DuplicateError,
    LockedError,
    OutcomeUnknownError,
    UnavailableError,
)
from services.api.metrics import ApiMetrics
from services.runtime.metrics import Metrics
from tests.unit.api.offline import settings


class Raw:
    """A connection that does what it is told."""

    def __init__(self, answer: Any = None, commit: Exception | None = None) -> None:
        self.answer, self.commit_error, self.did = answer, commit, []  # type: ignore[var-annotated]

    async def execute(self, _sql: str, *_args: object) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def transaction(self) -> Raw:
        return self

    async def start(self) -> None:
        self.did.append("start")

    async def commit(self) -> None:
        self.did.append("commit")
        if self.commit_error:
            raise self.commit_error

    async def rollback(self) -> None:
        self.did.append("rollback")


class Pool:
    def __init__(self, raw: Raw | Exception) -> None:
        self.raw, self.asked, self.back = raw, 0, 0

    async def acquire(self, timeout: float) -> Raw:  # noqa: ASYNC109  # asyncpg's own signature
        self.asked += 1
        if isinstance(self.raw, Exception):
            raise self.raw
        return self.raw

    async def release(self, _raw: Raw, timeout: float) -> None:  # noqa: ASYNC109
        self.back += 1

    def get_size(self) -> int:
        return 3

    def get_idle_size(self) -> int:
        return 1


def database(raw: Raw | Exception) -> tuple[Database, Pool]:
    made, pool = Database(settings(), ApiMetrics(Metrics("api", "1"))), Pool(raw)
    made._pool = pool  # type: ignore[assignment]
    return made, pool


@pytest.mark.parametrize(
    ("raised", "ours"),
    [
        (asyncpg.QueryCanceledError("x"), UnavailableError),
        (asyncpg.LockNotAvailableError("x"), LockedError),
        (asyncpg.UniqueViolationError("x"), DuplicateError),
        (asyncpg.ConnectionDoesNotExistError("x"), UnavailableError),
        (asyncpg.DiskFullError("x"), UnavailableError),
        (asyncpg.ReadOnlySQLTransactionError("x"), UnavailableError),
        (ConnectionResetError(), UnavailableError),
        (asyncpg.UndefinedTableError("x"), asyncpg.UndefinedTableError),
    ],
)
async def test_faults_are_translated(raised: Exception, ours: type[Exception]) -> None:
    """What speaks of the store becomes ours; a wrong statement stays a fault of ours to be logged."""
    made, _ = database(Raw())
    with pytest.raises(ours):
        await Connection(Raw(raised), made).run(PROBE)


async def test_while_away_nobody_waits() -> None:
    """After a failure the next request is refused without asking the pool, until a probe."""
    made, pool = database(ConnectionRefusedError())
    for _ in range(3):
        with pytest.raises(UnavailableError):
            async with made.read():
                pass
    assert pool.asked == 1
    assert await made.probe() is False
    assert pool.asked == 2


async def test_transaction_ends() -> None:
    """Commit at the end, rollback on anything raised, and the connection goes back either way."""
    raw = Raw("UPDATE 3")
    made, pool = database(raw)
    async with made.transaction() as connection:
        assert await connection.run(PROBE) == 3
    with pytest.raises(KeyError):
        async with made.transaction():
            raise KeyError
    assert raw.did == ["start", "commit", "start", "rollback"]
    assert pool.back == 2
    assert made.pool_state() == {("idle",): 1, ("busy",): 2}


async def test_lost_commit() -> None:
    """A connection lost inside COMMIT is neither success nor failure."""
    made, _ = database(Raw(commit=ConnectionResetError()))
    with pytest.raises(OutcomeUnknownError):
        async with made.transaction():
            pass


async def test_close_without_open() -> None:
    """Closing what was never opened is no error; then everything is refused."""
    made = Database(settings(), ApiMetrics(Metrics("api", "1")))
    await made.close()
    assert made.pool_state() == {("idle",): 0, ("busy",): 0}
    with pytest.raises(UnavailableError):
        async with made.read():
            pass
