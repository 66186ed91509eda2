"""Names and lines of message heads: which fields the engine takes, which pass, and how a head is written (data-path
3.3).

A field name is looked up as it was spelled, in a memo that holds what was decided for that spelling: kind, lower-case
name, the line's start. Only a spelling that was never seen costs `lower()` and a check; the memo is bounded, so junk
names cost their own time only.

Splitting (RFC 9112 11.1): what is written is bytes llhttp accepted, or a line made by `field`. There is no third way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from services.http1.exchange import Exchange

# kinds, or-ed into Exchange.marks and UpstreamHead.marks
PASS: Final = 0
TAKEN: Final = 1  # in `special` only, not forwarded
SEEN: Final = 2  # in `special`, and passes as it is
ONCE: Final = 4  # a second one is malformed
RARE: Final = 8  # the engine looks at it when the head is whole
REPEATED_ONCE: Final = 16  # in marks: it came a second time
LOOK_CLOSER: Final = RARE | REPEATED_ONCE
COUNT_SHIFT: Final = 8  # marks above: how many fields were repeats
ONE_MORE: Final = 1 << COUNT_SHIFT

Entry = tuple[int, bytes, bytes]  # kind, lower-case name, b"Name: "
MEMO_MAX: Final = 1024  # spellings; a browser has some 60

CRLF: Final = b"\r\n"
CLOSE_AND_END: Final = b"Connection: close\r\n\r\n"
KEEP_ALIVE_AND_END: Final = b"Connection: keep-alive\r\n\r\n"
CHUNKED_LINE: Final = b"Transfer-Encoding: chunked\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class UnderscoreError(Exception):
    """A field name with `_`: backends that read it as `-` would see a name we did not check."""


class Names:
    """The special names of one kind of message in one process, with the memo of spellings.

    `plain` holds names that pass, with the start of their line; `marked` those with a kind.
    """

    __slots__ = ("kinds", "marked", "plain", "refuse_underscore")

    def __init__(self, kinds: Mapping[bytes, int], *, refuse_underscore: bool) -> None:
        self.kinds = dict(kinds)
        self.refuse_underscore = refuse_underscore
        self.plain: dict[bytes, bytes] = {}
        self.marked: dict[bytes, Entry] = {}

    def also(self, *, taken: Iterable[bytes] = (), seen: Iterable[bytes] = ()) -> Names:
        """These names, and some that this process reads: `taken` are not forwarded, `seen` pass as they are."""
        more = dict.fromkeys(taken, TAKEN) | dict.fromkeys(seen, SEEN)
        return Names(self.kinds | more, refuse_underscore=self.refuse_underscore)

    def learn(self, name: bytes) -> Entry:
        """Decide for a spelling; raises UnderscoreError."""
        if self.refuse_underscore and b"_" in name:
            raise UnderscoreError
        lower = name.lower()
        start = name + b": "
        entry = (self.kinds.get(lower, PASS), lower, start)
        if len(self.plain) + len(self.marked) < MEMO_MAX and len(name) <= 64:
            if entry[0]:
                self.marked[name] = entry
            else:
                self.plain[name] = start
        return entry


_HOP: Final = {
    b"connection": TAKEN | RARE,
    b"keep-alive": TAKEN,
    b"proxy-connection": TAKEN,
    b"proxy-authenticate": TAKEN,
    b"proxy-authorization": TAKEN,
    b"te": TAKEN,
    b"trailer": TAKEN,
    b"transfer-encoding": TAKEN | RARE,
    b"upgrade": TAKEN,
    b"expect": TAKEN | RARE,
}
_MADE_ANEW: Final = {
    b"content-length": TAKEN | RARE,
    b"host": TAKEN | ONCE,
    b"via": TAKEN | RARE,
    b"x-request-id": TAKEN,
    b"traceparent": TAKEN,
    b"tracestate": TAKEN,
    b"x-request-timeout-ms": TAKEN,
}
_CREDENTIALS: Final = (b"authorization", b"x-api-key", b"cookie")
_INTERNAL: Final = (b"x-gateway-identity", b"x-gateway-ratelimit", b"x-gateway-class", b"x-client-ip")
_MISLEADING: Final = (b"x-real-ip", b"x-original-url", b"x-rewrite-url", b"x-http-method-override", b"proxy")
_FORWARDED: Final = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded")

# Connection may name these without effect: nobody can make us drop what the next hop relies on.
PROTECTED: Final = frozenset(
    (_MADE_ANEW.keys() - {b"content-length", b"host"})
    | {*_CREDENTIALS, *_INTERNAL, *_MISLEADING, *_FORWARDED}
    | {b"content-type", b"idempotency-key", b"if-match", b"if-none-match"}
)
# Connection may not name these: the message would change its frame or its target.
FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"host"})

GATEWAY_NAMES: Final = Names(
    _HOP
    | _MADE_ANEW
    | dict.fromkeys(_CREDENTIALS, TAKEN | ONCE)
    | dict.fromkeys((*_INTERNAL, *_MISLEADING, *_FORWARDED), TAKEN)
    | dict.fromkeys((b"origin", b"access-control-request-method", b"idempotency-key"), SEEN),
    refuse_underscore=True,
)
BALANCER_NAMES: Final = Names(
    _HOP | _MADE_ANEW | dict.fromkeys((b"x-gateway-class", b"x-client-ip", b"idempotency-key"), SEEN),
    refuse_underscore=True,
)
# Of answers. Who writes one of these names itself adds it to `taken` (the gateway: x-request-id).
ANSWER_NAMES: Final = Names(
    _HOP
    | {b"content-length": TAKEN | RARE, b"alt-svc": TAKEN, b"server": TAKEN, b"x-api-load": TAKEN}
    | dict.fromkeys((b"date", b"proxy-status", b"retry-after", b"x-served-by"), SEEN),
    refuse_underscore=False,
)


PLAIN_CONNECTION: Final = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})  # names no field


class UpstreamHead:
    """The head of an answer from a next hop, without what was taken."""

    __slots__ = ("fields", "framing", "length", "marks", "special", "status")

    def __init__(self) -> None:
        self.status = 0
        self.special: dict[
            bytes, bytes
        ] = {}  # lower-case name -> value: retry-after, x-api-load, x-served-by, content-length …
        self.fields: list[bytes] = []  # complete lines that pass, in order
        self.marks = 0
        self.framing = 0
        self.length = b""  # Content-Length as it goes on; empty: none


def field(name: bytes, value: bytes) -> bytes:
    """A line of our own. Raises ValueError for anything that could end the line or the name early."""
    if _TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
        raise ValueError(f"not a header field: {name!r}: {value!r}")
    return b"%b: %b\r\n" % (name, value)


def request_head(x: Exchange, lines: Sequence[bytes] = (), path: bytes | None = None) -> bytes:
    """The request line, Host, the fields that pass and `lines`: what `NextHop.start` wants (no framing fields, no blank
    line).
    """
    target = x.path if path is None else path
    return b"".join((x.method, b" ", target, x.query, b" HTTP/1.1\r\nHost: ", x.host, CRLF, *x.fields, *lines))


def drop_named(head: UpstreamHead) -> None:
    """Take out what Connection names: it was meant for us alone."""
    for part in head.special[b"connection"].lower().split(b","):
        name = part.strip(b" \t")
        if name not in {b"close", b"keep-alive"} and name not in PROTECTED and name not in FRAMING:
            start = name + b":"
            head.fields = [line for line in head.fields if not line.lower().startswith(start)]


def _status_lines() -> dict[int, bytes]:
    known = {status.value: status.phrase for status in HTTPStatus}
    return {code: f"HTTP/1.1 {code} {known.get(code, '')}\r\n".encode() for code in range(100, 600)}


STATUS_LINES: Final = _status_lines()  # the reason phrase is ours: an upstream's may hold anything
