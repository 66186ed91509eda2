"""The next hop's side of the engine: one pooled HTTP/1.1 connection that carries one exchange at a time (data-path 2).

A read is fed whole to llhttp; what it brought (a head, pieces of a body, the end) goes on to the client once the feed
is over, so a head and its body leave in one write, and a byte past the end is known before the connection is offered
again. `NextHop` and `Carrier` are what the rest knows: another kind of connection may carry exchanges later.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from services.core.verdicts import Refusal
from services.http1 import heads, runner
from services.http1.exchange import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE, Exchange
from services.http1.framing import chunk, content_length, is_chunked
from services.http1.heads import CRLF, UpstreamHead
from services.http1.states import BODY, CONNECTING, FREE, GONE, SENT

if TYPE_CHECKING:
    import asyncio

    from services.http1.pool import Pool

BAD_GATEWAY: Final = "bad-gateway"
_SLUGS: Final = {
    "connect_failed": BAD_GATEWAY,
    "connect_timeout": "gateway-timeout",
    "upstream_reset": BAD_GATEWAY,
    "upstream_invalid": BAD_GATEWAY,
    "try_timeout": "gateway-timeout",
    "deadline": "gateway-timeout",
    "queue_full": "temporary-reduced-capacity",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a next hop gave no answer.

    `kind`: connect_failed · connect_timeout · upstream_reset · upstream_invalid · try_timeout · deadline · queue_full.
    `sent`: request bytes were written, so it may have been carried out.
    """

    kind: str
    sent: bool = False

    def refusal(self) -> Refusal:
        """What the client is told if no hook knows better."""
        if self.kind == "queue_full":
            return Refusal(_SLUGS[self.kind], "queue-full", retry_after_s=1, facts={"reason": "queue-full"})
        return Refusal(_SLUGS[self.kind], self.kind)


RESET: Final = Failure("upstream_reset", sent=True)
INVALID: Final = Failure("upstream_invalid", sent=True)
TRY_TIMEOUT: Final = Failure("try_timeout", sent=True)
DEADLINE: Final = Failure("deadline", sent=True)
SENDS_BODY: Final = frozenset({b"POST", b"PUT", b"PATCH"})  # without one they say so (RFC 9110 8.6)
EMPTY_BODY: Final = b"Content-Length: 0\r\n\r\n"


class NextHop(Protocol):
    """Where an exchange can be sent: today a pool of HTTP/1.1 connections, later one multiplexed connection."""

    def start(self, x: Exchange, head: bytes) -> None:
        """Take x: `x.upstream` and state FORWARDED from here on. Never fails before it has returned.

        `head` = request line and all lines, without framing fields and the blank line: the hop adds exactly one
        framing.
        """

    def abort(self, x: Exchange) -> None:
        """Give up whatever is under way for x."""


class Carrier(Protocol):
    """What `x.upstream` is from `start` to the end of the exchange."""

    def more(self, x: Exchange) -> None:
        """More of the request body has come into x.body, or it is whole (x.body_done)."""

    def drop(self, x: Exchange) -> None:
        """The exchange is over for this carrier, without an answer: its connection is not used again."""

    def pause_reading(self) -> None:
        """The client takes no more for now."""

    def resume_reading(self) -> None: ...


class UpstreamConnection:
    __slots__ = (
        "by_length",
        "complete",
        "data",
        "expires",
        "head",
        "head_bytes",
        "heads_only",
        "interims",
        "invalid",
        "keep",
        "last",
        "parser",
        "pieces",
        "plain",
        "pool",
        "request_done",
        "since",
        "state",
        "surplus",
        "tail",
        "taken",
        "transport",
        "unread",
        "until_close",
        "write_paused",
        "x",
    )

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.transport: Any = None
        self.parser: Any = None
        self.state = CONNECTING
        self.x: Exchange | None = None
        self.plain: dict[bytes, bytes] = pool.names.plain
        self.head: UpstreamHead | None = None  # being read; None: idle, or the body is
        self.pieces: list[bytes] = []
        self.data = b""
        self.unread: UpstreamHead | None = None  # final and whole, not handed on yet
        self.complete = False  # the answer is whole
        self.surplus = False  # bytes came behind it
        self.invalid = False
        self.keep = False
        self.until_close = False
        self.heads_only = False  # the request is a HEAD: its answer ends with the head, which llhttp does not know
        self.by_length = False  # the body has a length: what follows its last byte is surplus
        self.last = b""  # the newest piece of the body
        self.tail = b""  # the last bytes of earlier reads
        self.head_bytes = 0  # of a head that is not whole
        self.request_done = False
        self.taken = 0  # pieces of x.body that are written
        self.interims = 0
        self.write_paused = False
        self.since = 0.0
        self.expires = 0.0

    # -- the transport's calls

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.parser = HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        x = self.x
        if x is None:  # unasked
            self._discard()
            return
        self.data = data
        try:
            self.parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            if not self.complete:
                self.invalid = True
            self.surplus = True
        if not (self.complete or self.by_length):
            self.tail = (self.tail + data[-4:])[-4:]
        head = self.unread
        if self.invalid:
            self.unread = None
            self._bad_answer(x)
        elif head is not None:
            self.unread = None
            self._hand_on_head(x, head)
        elif self.state == BODY:
            if self.pieces or self.complete:
                self._hand_on_body(x)
        else:
            self._unfinished(len(data))

    def eof_received(self) -> bool:
        self._ended(clean=True)
        self.pool.forget(self)
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        self._ended(clean=False)
        self.state = GONE
        self.parser = None
        self.pool.forget(self)

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.x is not None:
            self.x.connection.stop_body()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.x is not None:
            self.x.connection.go_on_body()

    # -- llhttp's calls

    def on_message_begin(self) -> None:
        if self.complete:
            self.surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        head = self.head
        start = self.plain.get(name)
        if head is None:  # a trailer, or past the end
            return
        if start is not None:
            head.fields.append(start + value + CRLF)
            return
        names = self.pool.names
        entry = names.marked.get(name)
        if entry is None:
            entry = names.learn(name)
        kind, lower, start = entry
        if kind & heads.TAKEN == 0:
            head.fields.append(start + value + CRLF)
        if kind:
            found = head.special
            found[lower] = found[lower] + b", " + value if lower in found else value
            head.marks |= kind

    def on_headers_complete(self) -> None:
        head = self.head
        if head is None:
            self.surplus = True
            return
        parser = self.parser
        head.status = status = parser.get_status_code()
        if status < 200:
            self._interim(head)
            return
        self.head = None
        self.keep = parser.should_keep_alive()
        if self.data.startswith(b"HTTP/1.1 ") or parser.get_http_version() in {"1.0", "1.1"}:
            self.invalid = status > 599 or not self._framed(head) or self._too_large(head)
        else:
            self.invalid = True
        self.unread = head

    def on_body(self, data: bytes) -> None:
        if self.complete:
            self.surplus = True
        else:
            self.pieces.append(data)
            self.last = data

    def on_message_complete(self) -> None:
        if self.head is None:  # not of an interim answer
            self.complete = True

    # -- the pool's and the exchange's calls

    def begin(self, x: Exchange, head: bytes) -> None:
        """Write the request: head, the one framing line, and the body as far as it is here."""
        self.x = x
        self.state = SENT
        self.head = UpstreamHead()
        self.complete = False
        self.by_length = False
        self.tail = b""
        self.head_bytes = 0
        self.interims = 0
        self.taken = 0
        heads_only = x.method == b"HEAD"
        if self.heads_only:  # the parser still waits for the body of the last answer
            self.parser = HttpResponseParser(self)
        self.heads_only = heads_only
        x.upstream = self
        x.handed = monotonic()
        if x.framing == NO_BODY:
            self.request_done = True
            self.transport.write(head + EMPTY_BODY if x.method in SENDS_BODY else head + CRLF)
            return
        self.request_done = False
        framing = heads.CHUNKED_LINE if x.framing == CHUNKED else b"Content-Length: %d\r\n" % x.length
        self.transport.write(b"%b%b\r\n" % (head, framing))
        if b"expect" in x.special:
            x.connection.please_continue(x)
        self.more(x)

    def more(self, x: Exchange) -> None:
        """Write what has come of the body; forget it once it is too long to be sent again."""
        if self.request_done:
            return
        new = x.body[self.taken :] if self.taken else x.body
        data = new[0] if len(new) == 1 else b"".join(new)
        if x.bytes_in <= self.pool.limits.replay_body_max:
            self.taken = len(x.body)
        else:
            x.body = []
            self.taken = 0
            x.replayable = False
        self.request_done = x.body_done
        if x.framing == CHUNKED:
            _write_chunk(self.transport, data, last=x.body_done)
        elif data:
            self.transport.write(data)
        if not self.write_paused:
            x.connection.go_on_body()

    def drop(self, x: Exchange) -> None:
        if self.x is x:
            self._discard()

    def close(self) -> None:
        """Out of the pool, while it carries nothing."""
        self.state = GONE
        self.pool.forget(self)
        self.transport.close()

    def abandon(self) -> None:
        """The pool is closing: what it carries fails."""
        self._ended(clean=False)
        self.transport.abort()

    def pause_reading(self) -> None:
        if self.state == BODY:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.state == BODY:
            self.transport.resume_reading()

    # -- inside

    def _too_large(self, head: UpstreamHead) -> bool:
        limits = self.pool.limits
        if len(head.fields) > limits.upstream_fields_max:
            return True
        long = self.head_bytes or len(self.data) > limits.upstream_head_max
        return bool(long) and sum(map(len, head.fields)) > limits.upstream_head_max

    def _unfinished(self, size: int) -> None:
        self.head_bytes += size
        if self.head_bytes > self.pool.limits.upstream_head_max and self.x is not None:
            self._bad_answer(self.x)

    def _framed(self, head: UpstreamHead) -> bool:
        """How the answer's body ends; False: it cannot be told, or there is one where none may be."""
        head.framing = UNTIL_CLOSE
        found = head.special
        if head.marks & heads.RARE:
            length = found.get(b"content-length")
            if length is not None:
                if length[0] == 48 or len(length) > 10 or not length.isdigit():
                    number = content_length(length)
                    if number < 0:
                        return False
                    length = b"%d" % number
                head.framing = LENGTH
                head.length = length
            elif b"transfer-encoding" in found:
                if not is_chunked(found[b"transfer-encoding"]):
                    return False
                head.framing = CHUNKED
            connection = found.get(b"connection")
            if connection is not None and connection not in heads.PLAIN_CONNECTION:
                heads.drop_named(head)
        status = head.status
        if status == 204 or status == 304 or self.heads_only:  # noqa: PLR1714  # the hot path builds no tuple
            head.framing = NO_BODY
            self.complete = True
        self.until_close = head.framing == UNTIL_CLOSE
        self.by_length = head.framing == LENGTH and head.length != b"0"
        return status != 205 or head.length == b"0"

    def _interim(self, head: UpstreamHead) -> None:
        self.interims += 1
        x = self.x
        if head.status == 101 or self.interims > self.pool.limits.interim_max:
            self.head = None
            self.invalid = True
            return
        if head.status != 100 and x is not None:
            x.connection.interim(x, head)
        self.head = UpstreamHead()

    def _hand_on_head(self, x: Exchange, head: UpstreamHead) -> None:
        self.state = BODY
        now = monotonic()
        x.upstream_s = now - x.handed
        pieces, complete = self.pieces, self.complete
        if x.pipeline.on_answer is not None:
            x.upstream = None
            if not runner.accepts(x, head):
                self.pieces = []
                self._release(now)
                return
            x.upstream = self
        if pieces:
            self.pieces = []
        if complete:
            x.upstream = None
            self._release(now)
        x.connection.answer(x, head, pieces, complete)

    def _hand_on_body(self, x: Exchange) -> None:
        pieces, complete = self.pieces, self.complete
        self.pieces = []
        if complete:
            x.upstream = None
            self._release(monotonic())
        x.connection.body(x, pieces, complete)

    def _release(self, now: float) -> None:
        """Let go of the exchange; back to the pool, if nothing speaks against it."""
        pool = self.pool
        self.x = None
        pool.active -= 1
        if (
            self.complete
            and self.keep
            and self.request_done
            and not self.surplus
            and now < self.expires
            and self._clean()
        ):
            self.state = FREE
            self.since = now
            pool.release(self)
        else:
            self.pieces = []
            self.state = GONE
            pool.forget(self)
            self.transport.close()

    def _clean(self) -> bool:
        """Llhttp skips line ends in front of a message: none may have come behind this one."""
        data = self.data
        self.data = b""
        if data[-1] != 10:
            return True
        if self.by_length:
            return data.endswith(self.last)
        return not (self.tail + data).endswith(b"\n\r\n\r\n")

    def _bad_answer(self, x: Exchange) -> None:
        state = self.state
        self._discard()
        if state == SENT:
            runner.fail(x, INVALID)
        else:
            x.connection.cut(x)

    def _discard(self) -> None:
        x = self.x
        if x is not None:
            self.x = None
            self.pool.active -= 1
            if x.upstream is self:
                x.upstream = None
        self.state = GONE
        self.pool.forget(self)
        self.transport.abort()

    def _ended(self, clean: bool) -> None:
        x = self.x
        if x is None:
            return
        state, whole = self.state, clean and self.until_close
        self._discard()
        if state == SENT:
            runner.fail(x, RESET)
        elif whole:
            x.connection.body(x, [], whole=True)
        else:
            x.connection.cut(x)


def _write_chunk(transport: Any, data: bytes, last: bool) -> None:
    if data:
        transport.write(chunk(data) + heads.LAST_CHUNK if last else chunk(data))
    elif last:
        transport.write(heads.LAST_CHUNK)
