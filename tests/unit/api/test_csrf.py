from __future__ import annotations

import pytest
from fastapi import Request

from services.api import csrf
from services.api.access import Caller
from tests.unit.api.offline import SECRET, claims, offline

RIGHT = csrf.token(SECRET, "1" * 64)


def refused(method: str, via: str, **headers: str) -> bool:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": method,
        "path": "/",
        "headers": raw,
        "app": offline(cors_origins="https://app.example.com").app,
    }
    return csrf.refusal(Request(scope), Caller(claims("user", via=via), "", "")) is not None


@pytest.mark.parametrize("origin", ["http://api.example.com", "https://app.example.com"])
async def test_own_and_listed_origins(origin: str) -> None:
    """The request's own origin and those of CORS_ORIGINS may act, with the token."""
    assert not refused("POST", "cookie", host="api.example.com", origin=origin, x_csrf_token=RIGHT)
    assert refused("POST", "cookie", host="api.example.com", origin=origin, x_csrf_token="x")
    assert refused("POST", "cookie", host="api.example.com", origin=origin)


async def test_everything_else_may_not() -> None:
    """A foreign or opaque origin, another scheme, no sign of where it comes from."""
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://api.example.com"},
        {},
        {"sec_fetch_site": "same-site"},
    ):
        assert refused("POST", "cookie", host="api.example.com", x_csrf_token=RIGHT, **headers)
    assert not refused("POST", "cookie", host="api.example.com", x_csrf_token=RIGHT, sec_fetch_site="same-origin")
    assert not refused(
        "POST",
        "cookie",
        host="i",
        x_forwarded_host="a.example",
        x_forwarded_proto="https",
        origin="https://a.example",
        x_csrf_token=RIGHT,
    )


async def test_only_cookies_and_only_unsafe_methods() -> None:
    """A bearer token is not sent by itself, and reading changes nothing."""
    assert not refused("POST", "bearer", host="h")
    assert not refused("GET", "cookie", host="h")
    assert refused("DELETE", "cookie", host="h")
