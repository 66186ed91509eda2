"""First: a request id, a trace context, a client address; so that every refusal further down has them (contract.md
2.1).

X-Request-ID is kept if it is one short, harmless word, else replaced by the trace id. A valid `traceparent` continues
its trace; its sampled flag counts only from trusted peers, or anybody could make us sample everything: for all others
the ids drawn here decide, against `sample` (tracing.py's `limit_of`; empty: none). Each hop writes a parent id of its
own.
"""

from __future__ import annotations

import re
from typing import Final

from services.gateway.clients import Clients
from services.http1.exchange import Exchange
from services.runtime.ids import draw_ids

REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?"
)
TRACESTATE_MAX: Final = 512
TRACESTATE_ENTRIES_MAX: Final = 32


class Trace:
    def __init__(self, clients: Clients, *, restart: bool, sample: bytes = b"") -> None:
        self._clients = clients
        self._restart = restart
        self._sample = sample

    def __call__(self, x: Exchange) -> None:
        special = x.special
        x.client = client = self._clients.of(x)
        trace_id, x.span_id = draw_ids()
        parent = special.get(b"traceparent")
        if parent is None or self._restart or not self._adopt(x, parent, trusted=client.trusted):
            x.trace_id = trace_id
            if b"tracestate" in special:
                del special[b"tracestate"]
        if self._sample and not (client.trusted and x.trace_id is not trace_id):
            x.sampled = trace_id[16:] < self._sample
        wanted = special.get(b"x-request-id")
        x.request_id = wanted if wanted is not None and REQUEST_ID.fullmatch(wanted) else x.trace_id

    @staticmethod
    def _adopt(x: Exchange, parent: bytes, *, trusted: bool) -> bool:
        match = TRACEPARENT.fullmatch(parent)
        if match is None or (parent[:2] == b"00" and len(parent) != 55):
            return False
        x.trace_id = match[1]
        x.sampled = trusted and bool(int(match[2], 16) & 1)
        state = x.special.get(b"tracestate", b"")
        if len(state) > TRACESTATE_MAX or state.count(b",") >= TRACESTATE_ENTRIES_MAX:
            del x.special[b"tracestate"]
        return True
