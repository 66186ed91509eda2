"""Refusals as RFC 9457 documents: the members of contract.md section 3, valid JSON whatever the request held."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.problems import PROBLEMS
from services.core.verdicts import Fact, Refusal
from services.http1.exchange import Exchange
from services.http1.problems import ProblemWriter

WRITER = ProblemWriter("gateway", "7c9f", "https://p.example/")


def exchange(path: bytes = b"/a", request_id: bytes = b"r1") -> Exchange:
    x = Exchange(None, None, path, 0)  # type: ignore[arg-type]
    x.request_id = request_id
    return x


@pytest.mark.parametrize("slug", PROBLEMS)
def test_every_type(slug: str) -> None:
    """Status, code, titles and texts are the table's; Proxy-Status where there is a token; close where the type says so."""
    x, problem = exchange(), PROBLEMS[slug]
    status, lines, body = WRITER.render(x, Refusal(slug, "why"))
    document = json.loads(body)
    assert status == document["status"] == problem.status
    assert document["type"] == problem.uri("https://p.example/")
    assert {"title", "detail", "instance", "error", "message", "code", "requestId"} <= set(document)
    assert document["detail"] == document["message"] == problem.detail
    assert (b"Proxy-Status: gateway-7c9f; error=" in b"".join(lines)) is bool(problem.proxy_error)
    assert x.close is problem.closes
    assert document.get("degraded", False) is problem.degraded


def test_retry_after_facts_and_headers() -> None:
    """Retry-After and retryAfter are the same number; facts are members; headers are added as they are."""
    refusal = Refusal(
        "quota-exceeded",
        "quota",
        "12 left",
        12,
        {"violated-policies": ("free", 'a"b'), "limit": 100, "remaining": 0, "half": 0.5, "flag": True, "text": "é\n"},
        (b"X-Own: 1\r\n",),
    )
    status, lines, body = WRITER.render(exchange(), refusal)
    document = json.loads(body)
    assert status == 429
    assert b"Retry-After: 12\r\n" in lines
    assert b"X-Own: 1\r\n" in lines
    assert document["retryAfter"] == 12
    assert document["violated-policies"] == ["free", 'a"b']
    assert (document["limit"], document["remaining"], document["half"], document["flag"], document["text"]) == (
        100,
        0,
        0.5,
        True,
        "é\n",
    )


@pytest.mark.parametrize(
    ("reason", "token"),
    [
        ("connect_failed", "connection_refused"),
        ("upstream_reset", "connection_terminated"),
        ("upstream_invalid", "http_protocol_error"),
        ("other", "connection_terminated"),
    ],
)
def test_exact_proxy_errors(reason: str, token: str) -> None:
    """A 502 says which way the next hop failed."""
    _, lines, _ = WRITER.render(exchange(), Refusal("bad-gateway", reason))
    assert f"error={token}\r\n".encode() in b"".join(lines)


@given(
    st.binary(max_size=30),
    st.text(max_size=20),
    st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=8), st.integers(), st.booleans())),
)
def test_always_json(path: bytes, detail: str, facts: dict[str, Fact]) -> None:
    """Any path, detail and fact comes back out of the document."""
    _, _, body = WRITER.render(exchange(path), Refusal("not-found", "x", detail, facts=facts))
    document = json.loads(body.decode("ascii"))
    assert document["instance"] == path.decode("latin-1")
    assert not detail or "detail" in facts or document["detail"] == detail
