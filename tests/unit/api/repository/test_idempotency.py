from __future__ import annotations

from typing import Any

from services.api.repository import idempotency
from services.api.repository.idempotency import Scope, Stored


class Told:
    """A connection that answers from a list and keeps the statements' names."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.names = list(answers), []  # type: ignore[var-annotated]

    async def run(self, statement: Any, *_args: Any) -> Any:
        self.names.append(statement.name.partition(".")[2])
        return self.answers.pop(0)

    async def row(self, _statement: Any, *_args: Any) -> Any:
        return self.answers.pop(0)


async def test_begin_waits_a_second_for_a_twin() -> None:
    """The lock's time is set before the insert and put back after it; an expired row makes room."""
    connection = Told(0, 0, 1, 0)
    assert await idempotency.begin(connection, Scope("p", "r", "k"), b"f" * 32)  # type: ignore[arg-type]
    assert connection.names == ["wait_a_second", "forget_expired", "begin", "wait_as_usual"]


async def test_find() -> None:
    """Headers and body as they were; None when nothing is there."""
    row = {"fingerprint": b"f", "status": 201, "headers": '{"a":"b"}', "body": b"x"}
    assert await idempotency.find(Told(row), Scope("p", "r", "k")) == Stored(b"f", 201, {"a": "b"}, b"x")  # type: ignore[arg-type]
    assert await idempotency.find(Told(None), Scope("p", "r", "k")) is None  # type: ignore[arg-type]
