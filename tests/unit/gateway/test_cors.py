from __future__ import annotations

from services.gateway.cors import Cors
from tests.unit.gateway.doubles import exchange

ORIGIN = b"https://app.example"


def test_without_origins_nothing_is_added():
    """No CORS_ORIGINS: no line, not even Vary."""
    cors = Cors(())
    assert cors.lines(exchange(origin=ORIGIN)) == b""
    assert cors.options(exchange(b"OPTIONS", origin=ORIGIN), b"GET").headers == (b"Allow: GET\r\n",)


def test_old_fault_15c_only_listed_origins():
    """A listed origin gets its own name and credentials; another one nothing but Vary."""
    cors = Cors(("https://app.example",))
    lines = cors.lines(exchange(origin=ORIGIN))
    assert b"Access-Control-Allow-Origin: https://app.example\r\n" in lines
    assert b"Access-Control-Allow-Credentials: true\r\n" in lines
    assert b"Vary: Origin\r\n" in lines
    for other in (b"https://app.example.evil", b"http://app.example", b"null", b""):
        assert cors.lines(exchange(origin=other)) == b"Vary: Origin\r\n"


def test_old_fault_15c_never_star_with_credentials():
    """`*` never comes with credentials."""
    lines = Cors(("*",)).lines(exchange(origin=ORIGIN))
    assert b"Access-Control-Allow-Origin: *\r\n" in lines
    assert b"Credentials" not in lines


def test_preflights():
    """A listed origin is told methods, fields and how long; an unlisted one gets 204 without them."""
    cors = Cors(("https://app.example",))
    listed = cors.options(exchange(b"OPTIONS", origin=ORIGIN, access_control_request_method=b"PUT"), b"GET, PUT")
    assert listed.status == 204
    assert b"Access-Control-Max-Age: 600" in b"".join(listed.headers)
    assert b"Idempotency-Key" in b"".join(listed.headers)
    other = cors.options(
        exchange(b"OPTIONS", origin=b"https://evil.example", access_control_request_method=b"PUT"), b"GET, PUT"
    )
    assert other.headers == (b"Allow: GET, PUT\r\n",)
