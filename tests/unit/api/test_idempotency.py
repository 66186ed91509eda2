from __future__ import annotations

import pytest
from fastapi import Request

from services.api.errors import Problem
from services.api.idempotency import Reply, fingerprint, key_of


@pytest.mark.parametrize(
    ("values", "key"), [([], None), (['"a"'], "a"), ([r'"a\"b\\"'], 'a"b\\'), (['"' + "x" * 255 + '"'], "x" * 255)]
)
def test_key_of(values: list[str], key: str | None) -> None:
    """A structured-field string, its escapes undone."""
    assert key_of(values) == key


@pytest.mark.parametrize(
    "values", [["a"], ['""'], ['"' + "x" * 256 + '"'], ['"a'], ['"ä"'], ["5"], ["?1"], ['"a"', '"a"'], ['"a", "b"']]
)
def test_what_is_no_key(values: list[str]) -> None:
    """B6: 400, naming the header."""
    with pytest.raises(Problem) as caught:
        key_of(values)
    assert caught.value.facts["details"][0]["pointer"] == "Idempotency-Key"


def test_secrets_are_not_kept() -> None:
    """The stored answer is the answer without them."""
    reply = Reply(201, {"key": "sk_live", "apiKey": {"id": "x"}}, {"Location": "/x"}, ("key",))
    assert b"sk_live" in bytes(reply.response().body)
    assert reply.kept == b'{"apiKey":{"id":"x"}}'
    assert reply.response().headers["location"] == "/x"


async def test_fingerprint() -> None:
    """Path, query and body decide whether a repeat is one."""
    made = {
        await fingerprint(request(*case))
        for case in (("/a", "", "1"), ("/b", "", "1"), ("/a", "q=1", "1"), ("/a", "", "2"))
    }
    assert len(made) == 4
    assert await fingerprint(request("/a", "", "1")) in made


def request(path: str, query: str, body: str) -> Request:
    found = Request(
        {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": query.encode(),
            "headers": [],
            "server": ("h", 80),
            "scheme": "http",
        }
    )
    found._body = body.encode()
    return found
