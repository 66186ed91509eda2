"""Ids: the gateway's are adopted; a request that came without gets new ones, so that every refusal has an id.

A new parent id per hop (W3C Trace Context); the trace id doubles as request id when there is none.
"""

from __future__ import annotations

import re
from typing import Final

from services.core.verdicts import Outcome
from services.http1.exchange import Exchange
from services.runtime.ids import draw_ids

_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_PARENT: Final = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")


def trace(x: Exchange) -> Outcome:
    special = x.special
    trace_id, x.span_id = draw_ids()
    parent = special.get(b"traceparent")
    found = _PARENT.fullmatch(parent) if parent is not None else None
    if found is not None:
        x.trace_id = found[1]
        x.sampled = int(found[2], 16) & 1 == 1
    else:
        x.trace_id = trace_id
    name = special.get(b"x-request-id")
    x.request_id = name if name is not None and _ID.fullmatch(name) is not None else x.trace_id
    return None


def own_answer_lines(instance: bytes) -> tuple[bytes, bytes]:
    """What precedes and follows the request id on an answer of this process."""
    return b"X-Served-By: %b\r\nX-Request-ID: " % instance, b"\r\n"


class NameAnswers:
    """on_head: an answer that no api made says who made it. Values are ids of ours or bytes the parser accepted."""

    __slots__ = ("_after", "_before")

    def __init__(self, instance: bytes) -> None:
        self._before, self._after = own_answer_lines(instance)

    def head(self, x: Exchange) -> None:
        if x.head is None:
            x.extra.append(self._before + x.request_id + self._after)
