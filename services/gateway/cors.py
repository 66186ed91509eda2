"""Which origins' pages may call this API (contract.md 2.3): exact match, credentials only for origins that are named.

Without `CORS_ORIGINS` nothing is looked at and nothing added. `*` stands alone and never comes with credentials. A
preflight is answered by the gateway without an identity; an origin that is not listed gets the same 204 without CORS
fields, and its browser draws the conclusion.
"""

from __future__ import annotations

from typing import Final

from services.core.verdicts import Answer
from services.http1.exchange import Exchange

METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_FIELDS: Final = (
    "Content-Type, Authorization, X-API-Key, X-Request-ID, X-CSRF-Token, X-Request-Timeout-Ms, "
    "Idempotency-Key, If-Match, If-None-Match, traceparent, tracestate"
)
EXPOSED: Final = (
    "X-Request-ID, X-Served-By, X-Response-Time, RateLimit-Policy, RateLimit, X-RateLimit-Limit, "
    "X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, RateLimit-Degraded, Cache-Status, X-Cache, Proxy-Status, "
    "Server-Timing, Deprecation, Sunset, Link, ETag, Location, Idempotency-Replayed"
)
MAX_AGE_S: Final = 600
PREFLIGHT: Final = (
    f"Access-Control-Allow-Methods: {METHODS}\r\n".encode()
    + f"Access-Control-Allow-Headers: {REQUEST_FIELDS}\r\n".encode()
    + f"Access-Control-Max-Age: {MAX_AGE_S}\r\n".encode()
)
VARY: Final = b"Vary: Origin\r\n"


class Cors:
    def __init__(self, origins: tuple[str, ...]) -> None:
        self.enabled = bool(origins)
        self._any = origins == ("*",)
        self._lines = {origin.encode(): _allowed(origin) for origin in origins}

    def lines(self, x: Exchange) -> bytes:
        """The fields an answer to `x` gets; empty without an origin list."""
        if not self.enabled:
            return b""
        if self._any:
            return self._lines[b"*"]
        return self._lines.get(origin_of(x), b"") + VARY

    def options(self, x: Exchange, allow: bytes) -> Answer:
        """The answer to OPTIONS: a preflight gets what its origin may do, everybody gets Allow. The allow lines of the
        origin itself come with `lines`, as on every answer.
        """
        known = self._any or origin_of(x) in self._lines
        preflight = PREFLIGHT if self.enabled and known and b"access-control-request-method" in x.special else b""
        return Answer(204, (b"Allow: " + allow + b"\r\n", *((preflight,) if preflight else ())))


def origin_of(x: Exchange) -> bytes:
    return x.special.get(b"origin", b"")


def _allowed(origin: str) -> bytes:
    credentials = "" if origin == "*" else "Access-Control-Allow-Credentials: true\r\n"
    return (
        f"Access-Control-Allow-Origin: {origin}\r\n{credentials}Access-Control-Expose-Headers: {EXPOSED}\r\n".encode()
    )
