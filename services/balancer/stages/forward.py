"""The request goes on: one head, written once, to whatever the endpoint's way in is.

Ids, what remains of the deadline and Via are made anew per hop (contract.md 2.1); all else passes as it came. Nothing
here knows that a pooled HTTP/1.1 connection carries it.
"""

from __future__ import annotations

from typing import Final

from services.balancer.stages.expire import EXPIRED, PER_HOP_MS
from services.core.verdicts import PARKED, Outcome
from services.http1.exchange import Exchange
from services.http1.heads import request_head

OURS: Final = b"X-Request-ID: %b\r\ntraceparent: 00-%b-%b-0%d\r\n%b"


class Forward:
    __slots__ = ("_via", "_via_name")

    def __init__(self, instance: bytes) -> None:
        self._via_name = b"1.1 balancer-" + instance
        self._via = b"Via: %b\r\n" % self._via_name

    def forward(self, x: Exchange) -> Outcome:
        special = x.special
        via = special.get(b"via")
        via_line = self._via if via is None else b"Via: %b, %b\r\n" % (via, self._via_name)
        lines = [OURS % (x.request_id, x.trace_id, x.span_id, x.sampled, via_line)]
        if x.deadline:
            left_ms = int((x.deadline - x.now) * 1000) - PER_HOP_MS
            if left_ms <= 0:
                return EXPIRED
            lines.append(b"X-Request-Timeout-Ms: %d\r\n" % left_ms)
        state = special.get(b"tracestate")
        if state is not None:
            lines.append(b"tracestate: %b\r\n" % state)
        x.endpoint.pool.start(x, request_head(x, lines))
        return PARKED
