from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.access import ANY, AccessRouter
from services.api.app import build
from services.api.errors import Problem
from services.api.models import ApiModel
from services.api.strict import DEPTH_MAX, parse
from tests.unit.api.offline import client, offline

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner, max_size=4)
    ),
    max_leaves=20,
)


class Body(ApiModel):
    name: str


def refusal(text: str | bytes) -> tuple[str, Any]:
    with pytest.raises(Problem) as caught:
        parse(text.encode() if isinstance(text, str) else text)
    facts = caught.value.facts
    return caught.value.slug, facts["details"][0]["pointer"] if "details" in facts else facts["offset"]


@given(VALUES)
def test_what_json_writes_is_read(value: Any) -> None:
    """Every finite JSON value comes back as it was, escaped or not."""
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("text", "slug", "where"),
    [
        ("", "invalid-json", 0),
        ("{", "invalid-json", 1),
        ('{"a":1}x', "invalid-json", 7),
        (b"\xef\xbb\xbf{}", "invalid-json", 0),
        (b'"\xff"', "invalid-json", 1),
        ("{'a':1}", "invalid-json", 1),
        ('{"a":1,"a":1}', "validation-failed", "/a"),
        ('{"x":[{"a/b":1,"a/b":2}]}', "validation-failed", "/x/0/a~1b"),
        ('{"a":NaN}', "validation-failed", "/a"),
        ('{"a":[1,-Infinity]}', "validation-failed", "/a/1"),
        ('{"a":1e400}', "validation-failed", "/a"),
        ('{"a":9223372036854775808}', "validation-failed", "/a"),
        ('{"a":' + "9" * 5000 + "}", "validation-failed", "/a"),
        ('{"a":"\\ud800"}', "validation-failed", "/a"),
        ('{"a":{"\\udc00":1}}', "validation-failed", "/a"),
        ('{"a":"x\\u0000"}', "validation-failed", "/a"),
        ("[" * 40 + "]" * 40, "validation-failed", ""),
    ],
)
def test_ambiguous_or_broken(text: str | bytes, slug: str, where: Any) -> None:
    """B1 to B3: refused with the place."""
    assert refusal(text) == (slug, where)


def test_what_only_looks_bad_passes() -> None:
    """An escaped pair is a character; brackets in a string are no depth; the bounds themselves are inside."""
    assert parse(b'{"n":1,"a":"\\ud83d\\ude00"}') == {"n": 1, "a": "\U0001f600"}
    assert parse(json.dumps("[" * 100).encode()) == "[" * 100
    assert parse(b"9223372036854775807") == 2**63 - 1
    assert parse(("[" * DEPTH_MAX + "]" * DEPTH_MAX).encode())


def test_a_hundred_thousand_names_cost_little() -> None:
    """B2: members by the thousand are read, or refused, in a moment."""
    body = json.dumps({f"n{i}": i for i in range(80_000)}).encode()[: 1 << 20]
    started = time.process_time()
    refusal(b"{" * 30_000 + body)
    refusal(body[:-1] + b',"n0":0}' if body.endswith(b"}") else body)
    assert time.process_time() - started < 1.0


async def test_the_order_of_checks() -> None:
    """Size before media type before JSON before fields; unknown and repeated query parameters are named."""
    router = AccessRouter("/x")
    router.post("", access=ANY, body_limit=20)(_echo)
    service = offline()
    async with client(service) as http:
        http._transport.app = build(service.services, [router])  # type: ignore[attr-defined]
        cases = [
            (b"x" * 21, "text/plain", "/x", 413),
            (b"{}", "text/plain", "/x", 415),
            (b"{}", "", "/x", 415),
            (b"{}", "application/json; charset=utf-16", "/x", 415),
            (b"{", "application/json", "/x", 400),
            (b"{}", "application/json; charset=UTF-8", "/x", 400),
            (b'{"name":"n"}', "application/json", "/x?a=1", 400),
            (b'{"name":"n"}', "application/json", "/x?q=1&q=2", 400),
            (b'{"name":"n"}', "application/json", "/x?q=1", 200),
        ]
        for body, kind, path, status in cases:
            answer = await http.post(path, content=body, headers={"content-type": kind} if kind else {})
            assert answer.status_code == status, (body, kind, path, answer.text)


async def _echo(body: Body, q: str = "") -> dict[str, str]:
    return {"name": body.name, "q": q}
