"""The lines every answer of the gateway gets, the api's and its own: ids, times, CORS, security (contract.md 2.2,
reliability.md 5.2).

The fields of the same names that an answer from behind brings are taken by the pool (`ANSWERS`), so each stands once.
"""

from __future__ import annotations

from typing import Final

from services.gateway.cors import Cors
from services.http1.exchange import Exchange
from services.http1.heads import ANSWER_NAMES

ANSWERS: Final = ANSWER_NAMES.also(
    taken=(b"x-request-id", b"x-response-time", b"x-content-type-options", b"referrer-policy")
)
SECURITY: Final = b"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
VIA: Final = b"Via: 1.1 gateway\r\n"


class AnswerHead:
    """`timing`: SERVER_TIMING, off, admin (for identities that may see what operators see) or all."""

    def __init__(self, instance: str, cors: Cors, timing: str) -> None:
        self._cors, self._timing = cors, timing
        self._served_by = f"X-Served-By: {instance}\r\n".encode()
        self._tail = VIA + SECURITY

    def __call__(self, x: Exchange) -> None:
        ms = (x.now - x.started) * 1000
        extra = x.extra
        extra.append(b"X-Request-ID: %b\r\nX-Response-Time: %.1fms\r\n%b" % (x.request_id, ms, self._tail))
        if x.head is None:
            extra.append(self._served_by)
        if self._cors.enabled:
            extra.append(self._cors.lines(x))
        if self._timing != "off" and (self._timing == "all" or (x.identity is not None and x.identity.views)):
            upstream_ms = 1000 * x.upstream_s
            extra.append(b"Server-Timing: gateway;dur=%.2f, upstream;dur=%.2f\r\n" % (ms - upstream_ms, upstream_ms))
