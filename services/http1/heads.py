"""Names and lines of message heads: which fields the engine takes, which pass, and how a head is written (data-path
3.3).

A head comes as lines that llhttp has accepted. Most lines of most messages were seen before, byte for byte, and are
known to pass: one look-up each. Of the others the name is looked up as it was spelled, in a memo that holds its kind
and lower-case form; only a spelling that was never seen costs `lower()` and a check. Both memos are bounded, and no
line with a special name is kept (no credential stays in memory).

Splitting (RFC 9112 11.1): what is written is lines llhttp accepted, or a line made by `field`. There is no third way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from services.http1.exchange import Exchange

# kinds, or-ed over a request's fields
PASS: Final = 0
TAKEN: Final = 1  # in `special` only, not forwarded
SEEN: Final = 2  # in `special`, and passes as it is
ONCE: Final = 4  # a second one is malformed
RARE: Final = 8  # the engine looks at it when the head is whole
REPEATED_ONCE: Final = 16  # it came a second time
UNREAD: Final = 32  # taken, and nobody looks at it
# lines of this name are much the same from message to message, and no secret: worth to be known as a whole
REPEATS: Final = 64
UNDERSCORE: Final = TAKEN | 128  # backends that read `_` as `-` would see a name we did not check
LOOK_CLOSER: Final = RARE | REPEATED_ONCE | (UNDERSCORE & ~TAKEN)

Line = tuple[int, bytes, bytes]  # kind, lower-case name, value
PASSES: Final[Line] = (PASS, b"", b"")  # nobody here looks at it
SPELLINGS_MAX: Final = 1024  # a browser has some 60
LINES_MAX: Final = 2048  # then forgotten and learnt anew: values that never repeat must not keep the others out
LINE_MAX: Final = 128  # a longer line is hardly repeated

CRLF: Final = b"\r\n"
CLOSE_AND_END: Final = b"Connection: close\r\n\r\n"
KEEP_ALIVE_AND_END: Final = b"Connection: keep-alive\r\n\r\n"
CHUNKED_LINE: Final = b"Transfer-Encoding: chunked\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class Names:
    """The special names of one kind of message in one process, with the memos.

    `lines`: whole lines as they came. `spelled`: names as they came, with kind and lower-case form.
    """

    __slots__ = ("kinds", "lines", "refuse_underscore", "spelled")

    def __init__(self, kinds: Mapping[bytes, int], *, refuse_underscore: bool) -> None:
        self.kinds = dict(kinds)
        self.refuse_underscore = refuse_underscore
        self.lines: dict[bytes, Line] = {}
        self.spelled: dict[bytes, tuple[int, bytes]] = {}

    def also(self, *, taken: Iterable[bytes] = (), seen: Iterable[bytes] = ()) -> Names:
        """These names, and some that this process reads: `taken` are not forwarded, `seen` pass as they are."""
        more = dict.fromkeys(taken, TAKEN) | dict.fromkeys(seen, SEEN)
        return Names(self.kinds | more, refuse_underscore=self.refuse_underscore)

    def sort(self, line: bytes) -> Line:
        """Decide for a line that is not in the memo; it is kept there if lines of its name are."""
        name, _, value = line.partition(b":")
        kind, lower = self.spelled.get(name) or self._learn(name)
        if kind == PASS:
            return PASSES
        found = PASSES if kind == REPEATS else (kind & ~REPEATS, lower, value.strip())
        if kind & REPEATS and len(line) <= LINE_MAX:
            if len(self.lines) >= LINES_MAX:
                self.lines.clear()
            self.lines[line] = found
        return found

    def _learn(self, name: bytes) -> tuple[int, bytes]:
        """Decide for a spelling."""
        lower = name.lower()
        kind = self.kinds.get(lower, PASS)
        if self.refuse_underscore and b"_" in name:
            kind = UNDERSCORE
        elif lower in REPEATING:
            kind |= REPEATS
        if len(self.spelled) < SPELLINGS_MAX and len(name) <= LINE_MAX:
            self.spelled[name] = (kind, lower)
        return kind, lower


REPEATING: Final = frozenset(
    b"accept accept-encoding accept-language access-control-allow-origin age alt-svc cache-control connection "
    b"content-encoding content-language content-length content-type date dnt host keep-alive origin pragma priority "
    b"referrer-policy sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site "
    b"server strict-transport-security te transfer-encoding upgrade-insecure-requests user-agent vary via "
    b"x-content-type-options x-forwarded-proto x-frame-options x-served-by".split()
)
_HOP: Final = {
    b"connection": TAKEN | RARE,
    b"keep-alive": TAKEN | UNREAD,
    b"proxy-connection": TAKEN | UNREAD,
    b"proxy-authenticate": TAKEN | UNREAD,
    b"proxy-authorization": TAKEN | UNREAD,
    b"te": TAKEN | UNREAD,
    b"trailer": TAKEN | UNREAD,
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
    | {b"content-length": SEEN, b"alt-svc": TAKEN | UNREAD, b"server": TAKEN | UNREAD, b"x-api-load": TAKEN}
    | dict.fromkeys((b"date", b"proxy-status", b"retry-after", b"x-served-by"), SEEN),
    refuse_underscore=False,
)


PLAIN_CONNECTION: Final = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})  # names no field


class UpstreamHead:
    """The head of an answer from a next hop, without what was taken."""

    __slots__ = ("fields", "framing", "length", "special", "status")

    def __init__(self) -> None:
        self.status = 0
        self.special: dict[
            bytes, bytes
        ] = {}  # lower-case name -> value: retry-after, x-api-load, x-served-by, content-length …
        self.fields: list[bytes] = []  # complete lines that pass, in order
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


def sort_fields(names: Names, lines: Sequence[bytes], fields: list[bytes], found: dict[bytes, bytes]) -> int:
    """Sort the lines between a head's first and last: those that pass into `fields`, special names into `found`; the kinds there were,
    or-ed. A repeated name is joined, as it may be (RFC 9110 5.3); REPEATED_ONCE if it may not.
    """
    known, sort = names.lines.get, names.sort
    marks = 0
    for line in lines[1:-1]:
        entry = known(line) or sort(line)
        if entry is PASSES:
            fields.append(line)
            continue
        kind, lower, value = entry
        if kind & TAKEN == 0:
            fields.append(line)
        elif kind & UNREAD:
            continue
        if lower in found:
            found[lower] += b", " + value
            kind |= REPEATED_ONCE if kind & ONCE else 0
        else:
            found[lower] = value
        marks |= kind
    return marks


def read_head(names: Names, raw: bytes, status: int) -> UpstreamHead:
    """An answer's head, whose bytes llhttp has accepted."""
    head = UpstreamHead()
    head.status = status
    found = head.special
    sort_fields(names, raw.splitlines(True), head.fields, found)  # noqa: FBT003  # keepends
    if b"connection" in found and found[b"connection"] not in PLAIN_CONNECTION:
        drop_named(head)
    return head


def drop_field(head: UpstreamHead, lower: bytes) -> None:
    """Take a field out again."""
    start = lower + b":"
    head.fields = [line for line in head.fields if not line.lower().startswith(start)]


def drop_named(head: UpstreamHead) -> None:
    """Take out what Connection names: it was meant for us alone."""
    for part in head.special[b"connection"].lower().split(b","):
        name = part.strip(b" \t")
        if name not in {b"close", b"keep-alive"} and name not in PROTECTED and name not in FRAMING:
            drop_field(head, name)


def _status_lines() -> dict[int, bytes]:
    known = {status.value: status.phrase for status in HTTPStatus}
    return {code: f"HTTP/1.1 {code} {known.get(code, '')}\r\n".encode() for code in range(100, 600)}


STATUS_LINES: Final = _status_lines()  # the reason phrase is ours: an upstream's may hold anything
