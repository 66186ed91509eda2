from __future__ import annotations

import pytest

from services.runtime import migrate


def test_the_files_are_there() -> None:
    """In the checkout and in the wheel: migrations, schema, grants for both roles, demo rows."""
    assert migrate.SCHEMA.exists()
    assert set(migrate.GRANTS) == set(migrate.ROLES)
    assert {"users", "resources", "key"} <= set(migrate.DEMO)


def test_first_difference() -> None:
    """The line that differs, both ways; a comma more is none."""
    assert migrate.first_difference("a\nb,\nc", "a\nb\nd") == "expected 'c', found 'd'"
    assert migrate.first_difference("a", "a\nb") == "expected 'the end', found 'b'"
    assert migrate.first_difference("a,", "a") == "only in commas"


async def test_a_database_that_is_not_there() -> None:
    """`up` tries until its time is over, then says what the system said."""
    with pytest.raises(OSError):
        await migrate.up("postgresql://nobody@127.0.0.1:1/none", wait_s=0.3)
