from __future__ import annotations

import pytest
from fastapi import Request, Response

from services.api.cookies import clear_session, is_plain, set_session


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw})


@pytest.mark.parametrize(
    ("headers", "plain"),
    [
        ({"host": "127.0.0.1:8080"}, True),
        ({"host": "localhost"}, True),
        ({"host": "[::1]:8080"}, True),
        ({"host": "[::1]"}, True),
        ({"host": "api.example.com"}, False),
        ({"host": "127.0.0.1", "x_forwarded_proto": "https"}, False),
        ({"host": "127.0.0.1", "x_forwarded_host": "api.example.com"}, False),
        ({}, False),
    ],
)
def test_plain_only_at_home(headers: dict[str, str], plain: bool) -> None:
    """Without Secure only over plain HTTP on loopback, as the client sees it."""
    assert is_plain(request(**headers)) is plain


def test_cookie_attributes() -> None:
    """contract.md 2.3, letter by letter; clearing names the same cookie with the same attributes."""
    response = Response()
    set_session(request(host="api.example.com", x_forwarded_proto="https"), response, "ses_x", 86400)
    parts = response.headers["set-cookie"].split("; ")
    assert parts[0] == "__Host-scalable_session=ses_x"
    assert {p.lower() for p in parts[1:]} == {"path=/", "secure", "httponly", "samesite=strict", "max-age=86400"}
    cleared = Response()
    clear_session(request(host="localhost"), cleared)
    assert cleared.headers["set-cookie"].startswith('scalable_session="";')
    assert "Max-Age=0" in cleared.headers["set-cookie"]
