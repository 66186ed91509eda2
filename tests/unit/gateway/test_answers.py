from __future__ import annotations

import re
from typing import Any

import pytest

from services.gateway.answers import ANSWERS, AnswerHead
from services.gateway.cors import Cors
from services.http1.heads import TAKEN, UpstreamHead
from tests.unit.gateway.doubles import exchange, identity


def lines(timing: str = "admin", who: Any = None, *, upstream: bool = False, origins: tuple[str, ...] = ()) -> bytes:
    x = exchange(origin=b"https://a.example")
    x.identity = who
    if upstream:
        x.head, x.upstream_s = UpstreamHead(), 0.004
    AnswerHead("gateway-1", Cors(origins), timing)(x)
    return b"".join(x.extra)


def test_every_answer_has_ids_times_and_security():
    """X-Request-ID, X-Response-Time, Via, nosniff, no referrer; X-Served-By names us when we answer ourselves."""
    own = lines()
    assert b"X-Request-ID: req-1\r\n" in own
    assert re.search(rb"X-Response-Time: \d+\.\dms\r\n", own)
    assert b"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n" in own
    assert b"Via: 1.1 gateway\r\n" in own
    assert b"X-Served-By: gateway-1\r\n" in own
    assert b"X-Served-By" not in lines(upstream=True)


@pytest.mark.parametrize(
    ("timing", "role", "shown"), [("off", "admin", False), ("admin", "admin", True), ("admin", "user", False)]
)
def test_server_timing_is_for_operators(timing, role, shown):
    """Unless SERVER_TIMING says otherwise."""
    assert (b"Server-Timing" in lines(timing, identity(role, ("*",)))) is shown
    assert b"upstream;dur=4.00" in lines("all", upstream=True)


def test_cors_lines_come_along():
    """On every answer, with a list of origins."""
    assert b"Access-Control-Allow-Origin" in lines(origins=("https://a.example",))
    assert b"Access-Control" not in lines()


def test_nothing_stands_twice():
    """What the gateway writes is taken from answers behind it."""
    for name in (b"x-request-id", b"x-response-time", b"x-content-type-options", b"referrer-policy", b"server"):
        assert ANSWERS.kinds[name] & TAKEN
