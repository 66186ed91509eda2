from __future__ import annotations

from typing import Any

import pytest

from services.api.repository import keys
from services.api.repository.keys import SQL, KeyFilter


class Recorder:
    def __init__(self) -> None:
        self.args: list[tuple[Any, ...]] = []

    async def value(self, _statement: object, *args: Any) -> int:
        self.args.append(args)
        return 3

    async def rows(self, _statement: object, *args: Any) -> list[str]:
        self.args.append(args)
        return ["row"]


def test_the_owner_stands_in_every_query() -> None:
    """OWASP 1: whoever forgets the check in Python is stopped in SQL."""
    for name in ("one", "page", "count", "lock"):
        assert "user_id = $" in SQL[name].sql, name


@pytest.mark.parametrize(("text", "pattern"), [("a%b", r"%a\%b%"), ("a_b", r"%a\_b%"), ("a\\b", r"%a\\b%")])
async def test_wildcards_are_plain(text: str, pattern: str) -> None:
    """Q2: literal match."""
    connection = Recorder()
    await keys.page(connection, KeyFilter(None, None, None, text), 10, 0)  # type: ignore[arg-type]
    assert connection.args[0][2:4] == (pattern, text)


async def test_past_the_end_nothing_is_read() -> None:
    """A page beyond the last one costs one count."""
    connection = Recorder()
    assert await keys.page(connection, KeyFilter(None, None, None, None), 10, 10) == ([], 3)  # type: ignore[arg-type]
    assert len(connection.args) == 1
