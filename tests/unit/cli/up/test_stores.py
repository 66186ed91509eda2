"""Stores of an instance: given ones that are not there, and what messages may say. Starting them: the integration
tests.
"""

from __future__ import annotations

import pytest

from services.cli.errors import UNREACHABLE, CliError
from services.cli.up import stores


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:1/d", "postgresql://u:***@h:1/d"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("http://[bad", "(not a URL)"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    """A URL in a message carries no password."""
    assert stores.without_password(url) == shown


async def test_e110_a_given_store_that_is_not_there() -> None:
    """A DSN or URL nobody answers on, or that is none: E110, exit 5, without its password."""
    with pytest.raises(CliError) as failed:
        await stores._given_postgres("postgresql://u:secret@127.0.0.1:1/d")
    assert (failed.value.code, failed.value.exit_code) == ("E110", UNREACHABLE)
    assert "secret" not in failed.value.why
    for url in ("redis://127.0.0.1:1/0", "nonsense"):
        with pytest.raises(CliError) as failed:
            await stores._given_redis(url)
        assert failed.value.code == "E110"
