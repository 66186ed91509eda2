"""`keys`: what is asked of the api, and where the secret is printed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from services.cli.api_client import Act
from services.cli.commands import keys
from services.cli.errors import NOT_FOUND, REFUSED, CliError
from services.cli.output import Format

KEY = {
    "id": "abc",
    "prefix": "sk_test_abc",
    "name": "n",
    "tier": "free",
    "scopes": ["read"],
    "status": "active",
    "expiresAt": None,
}


class FakeApi:
    """Answers in turn, remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.calls = list(answers), list[tuple[Any, ...]]()

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        self.calls.append((method, path, body, query))
        answer = self.answers.pop(0)
        if isinstance(answer, CliError):
            raise answer
        return answer

    def through(self, act: Act) -> Any:
        async def acted() -> Any:
            return await act(self)  # type: ignore[arg-type]

        return asyncio.run(acted())


def test_the_secret_is_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """`keys create` prints the key on stdout and nothing else there, so that it can be piped."""
    api = FakeApi({"key": "sk_test_abc_secret", "apiKey": KEY})
    keys.create(api.through, Format.table, name="n", tier=None, scopes=["read"], expires_days=90)
    out, err = capsys.readouterr()
    assert out == "sk_test_abc_secret\n"
    assert "sk_test_abc" in err
    assert api.calls == [("POST", "/api/v1/keys", {"name": "n", "scopes": ["read"], "expiresInDays": 90}, {})]


def test_rotate_and_revoke_take_ids_and_prefixes(capsys: pytest.CaptureFixture[str]) -> None:
    """An id as listed, or the prefix as logs show it; never a path of another route."""
    api = FakeApi({"key": "new", "apiKey": KEY, "replaces": {"id": "abc", "expiresAt": "soon"}}, None)
    keys.rotate(api.through, Format.table, "sk_live_abc", grace_s=60)
    keys.revoke(api.through, "a/../b", "lost")
    assert [call[:2] for call in api.calls] == [
        ("POST", "/api/v1/keys/abc/rotate"),
        ("DELETE", "/api/v1/keys/a%2F..%2Fb"),
    ]
    assert capsys.readouterr().out == "new\n"


def test_a_key_that_is_not_there() -> None:
    """3, and where the keys are listed."""
    for status, next_step in ((NOT_FOUND, "scalable-api keys list"), (REFUSED, "")):
        with pytest.raises(CliError) as failed:
            keys.revoke(FakeApi(CliError("", "no", exit_code=status)).through, "nobody", None)
        assert (failed.value.exit_code, failed.value.next_step) == (status, next_step)


def test_all_pages_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """A long list is read to its end; -o json holds every key, -o name the ids."""
    first, last = {"keys": [KEY], "pagination": {"hasMore": True}}, {"keys": [KEY], "pagination": {"hasMore": False}}
    keys.listing(FakeApi(first, last).through, Format.json, status=None, tier="free")
    assert len(json.loads(capsys.readouterr().out)["data"]["keys"]) == 2
    keys.listing(FakeApi(last).through, Format.name, status=None, tier=None)
    assert capsys.readouterr().out == "abc\n"
    keys.listing(FakeApi(last).through, Format.table, status=None, tier=None)
    assert "never" in capsys.readouterr().out


def test_names_are_made_up() -> None:
    """Without --name each key gets one of its own."""
    assert keys.fresh_name() != keys.fresh_name()
