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
from services.http1.heads import CRLF, UpstreamHead, drop_field, read_head
from services.http1.states import BODY, CONNECTING, FREE, GONE, SENT
from services.http1.tunnel import Tunnel, is_agreed

if TYPE_CHECKING:
    import asyncio

    from services.http1.pool import Pool

HEAD_END: Final = b"\r\n\r\n"
VERSIONS: Final = frozenset({b"HTTP/1.1 ", b"HTTP/1.0 "})
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
        "complete",
        "expires",
        "fed",
        "got",
        "head",
        "heads_only",
        "interims",
        "invalid",
        "keep",
        "parser",
        "paused",
        "pieces",
        "pool",
        "raw",
        "request_done",
        "since",
        "state",
        "surplus",
        "tail",
        "taken",
        "transport",
        "uploading",
        "write_paused",
        "x",
    )

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.transport: Any = None
        self.parser: Any = None
        self.state = CONNECTING
        self.x: Exchange | None = None
        # the answer
        self.head: UpstreamHead | None = None  # the final one, once it is whole
        self.raw = b""  # what has come of a head, and in the read that ends it of the body; llhttp says when to look
        self.pieces: list[bytes] = []  # of the body, not handed on yet
        self.fed = 0  # bytes that came behind the head …
        self.got = 0  # … and how many of them were the body's: more is surplus
        self.tail = b""  # the last bytes of a chunked answer, where the two cannot be compared
        self.complete = False
        self.surplus = False  # bytes came behind its end
        self.invalid = False
        self.keep = False
        self.heads_only = False  # the request is a HEAD: its answer ends with the head, which llhttp does not know
        self.interims = 0
        # the request
        self.request_done = False
        self.uploading = False  # it counts among those of the pool
        self.taken = 0  # pieces of x.body that are written
        self.write_paused = False
        self.paused = False  # the client takes nothing for now
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
        if self.head is not None:
            self.fed += len(data)
        else:
            self.raw = self.raw + data if self.raw else data
        try:
            self.parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.invalid = not self.complete
            self.surplus = True
        head = self.head
        if self.invalid:
            self._bad_answer(x)
        elif head is None:
            if self.complete:
                self._switch(x)
            elif len(self.raw) > self.pool.limits.upstream_head_max:
                self._bad_answer(x)
        else:
            if head.framing == CHUNKED:
                self.tail = (self.tail + data[-5:])[-5:]
            if self.state == SENT:
                if self.complete or head.framing != LENGTH or self._is_long(head):
                    self._hand_on_head(x, head)
            elif self.pieces or self.complete:
                self._hand_on_body(x, head)

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

    def on_headers_complete(self) -> None:
        if self.head is not None or self.invalid:
            self.surplus = True
            return
        raw = self.raw
        end = raw.find(HEAD_END) + 4
        parser = self.parser
        head = read_head(self.pool.names, raw[:end], parser.get_status_code())
        status = head.status
        if status < 200:
            self.raw = raw[end:]
            self._interim(head)
            return
        self.head = head
        self.keep = parser.should_keep_alive()
        self.raw = b""
        self.interims = 0
        self.fed = len(raw) - end
        self.got = 0
        length = head.special.get(b"content-length")
        if length is not None:
            head.framing = LENGTH
            head.length = length
            if length[0] == 48 or len(length) > 18:
                self.invalid = content_length(length) < 0
        elif b"transfer-encoding" in head.special:
            head.framing = CHUNKED
            self.tail = b""
            self.invalid = not is_chunked(head.special[b"transfer-encoding"])
        else:
            head.framing = UNTIL_CLOSE
        if status == 204 or status == 304 or self.heads_only:  # noqa: PLR1714  # no tuple on the path
            head.framing = NO_BODY
            self.complete = True
            if status == 204 and length is not None:
                drop_field(head, b"content-length")
        if status > 599 or raw[:9] not in VERSIONS or (status == 205 and head.length != b"0"):
            self.invalid = True
        limits = self.pool.limits
        if end > limits.upstream_head_max or len(head.fields) > limits.upstream_fields_max:
            self.invalid = True

    def on_body(self, data: bytes) -> None:
        if self.complete:
            self.surplus = True
        else:
            self.pieces.append(data)
            self.got += len(data)

    def on_message_complete(self) -> None:
        if self.head is not None:  # not of an interim answer
            self.complete = True

    # -- the pool's and the exchange's calls

    def begin(self, x: Exchange, head: bytes) -> None:
        """Write the request: head, the one framing line, and the body as far as it is here."""
        self.x = x
        self.state = SENT
        self.head = None
        self.complete = False
        if self.heads_only:  # the parser still waits for the body of the last answer
            self.parser = HttpResponseParser(self)
        self.heads_only = x.method == b"HEAD"
        x.upstream = self
        x.handed = x.now
        if x.framing == NO_BODY:
            self.request_done = True
            self.transport.write(head + EMPTY_BODY if x.method in SENDS_BODY else head + CRLF)
            return
        self.request_done = False
        self.taken = 0
        framing = heads.CHUNKED_LINE if x.framing == CHUNKED else b"Content-Length: %d\r\n" % x.length
        self.transport.write(b"%b%b\r\n" % (head, framing))
        if b"expect" in x.special:
            x.connection.please_continue(x)
        self.uploading = True
        self.pool.uploading += 1
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
        if x.body_done:
            self._uploaded()
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
        if self.state == BODY and not self.paused:
            self.paused = True
            self.transport.pause_reading()
            self.pool.held_up(1)

    def resume_reading(self) -> None:
        if self.state == BODY and self.paused:
            self.paused = False
            self.transport.resume_reading()
            self.pool.held_up(-1)

    # -- inside

    def _is_long(self, head: UpstreamHead) -> bool:
        """A short answer goes on once it is whole: if its sender dies between head and body, which servers write one
        after the other, another may still be asked.
        """
        return int(head.length) > self.pool.limits.whole_answer_max

    def _interim(self, head: UpstreamHead) -> None:
        self.interims += 1
        x = self.x
        if head.status == 101 and x is not None and is_agreed(x, head):
            x.head = head
            self.complete = True
        elif head.status == 101 or self.interims > self.pool.limits.interim_max:
            self.invalid = True
        elif head.status != 100 and x is not None:
            x.connection.interim(x, head)

    def _hand_on_head(self, x: Exchange, head: UpstreamHead) -> None:
        self.state = BODY
        x.now = now = monotonic()
        x.upstream_s = now - x.handed
        pieces, complete = self.pieces, self.complete
        if x.pipeline.on_answer is not None:
            x.upstream = None
            if not runner.accepts(x, head):
                self.pieces = []
                self._release(head, now)
                return
            x.upstream = self
        if pieces:
            self.pieces = []
        if complete:
            x.upstream = None
            self._release(head, now)
        x.connection.answer(x, head, pieces, complete)

    def _switch(self, x: Exchange) -> None:
        """The 101 that was agreed to: this connection and the client's leave HTTP, and this one its pool."""
        head, x.head = x.head, None
        assert head is not None  # noqa: S101  # `_interim` kept it
        x.now = now = monotonic()
        x.upstream_s = now - x.handed
        x.upstream = None
        if not runner.accepts(x, head):
            self._discard()
            return
        x.upstream = self
        if x.connection.switch(x, head):
            self.x = None
            self.state = GONE
            self.pool.forget(self)
            x.upstream = tunnel = Tunnel(x, self.pool, self.transport)
            tunnel.open(self.raw)

    def _hand_on_body(self, x: Exchange, head: UpstreamHead) -> None:
        pieces, complete = self.pieces, self.complete
        self.pieces = []
        if complete:
            x.upstream = None
            x.now = now = monotonic()
            self._release(head, now)
        x.connection.body(x, pieces, complete)

    def _release(self, head: UpstreamHead, now: float) -> None:
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
            and (self.fed == self.got if head.framing != CHUNKED else self._ends_clean())
        ):
            self.state = FREE
            self.since = now
            pool.release(self)
        else:
            self.state = GONE
            self._uploaded()
            pool.forget(self)
            self.transport.close()

    def _uploaded(self) -> None:
        if self.uploading:
            self.uploading = False
            self.pool.uploading -= 1

    def _ends_clean(self) -> bool:
        """A chunked answer ends with one empty line. (A second head behind it is noticed elsewhere.)"""
        return self.tail.endswith(HEAD_END) and not self.tail.startswith(b"\n")

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
        self._uploaded()
        if self.paused:
            self.paused = False
            self.pool.held_up(-1)
        self.pool.forget(self)
        self.transport.abort()

    def _ended(self, clean: bool) -> None:
        x = self.x
        if x is None:
            return
        state = self.state
        whole = clean and self.head is not None and self.head.framing == UNTIL_CLOSE
        self._discard()
        if state == SENT:
            runner.fail(x, RESET)
        elif whole:
            x.now = monotonic()
            x.connection.body(x, [], whole=True)
        else:
            x.connection.cut(x)


def _write_chunk(transport: Any, data: bytes, last: bool) -> None:
    if data:
        transport.write(chunk(data) + heads.LAST_CHUNK if last else chunk(data))
    elif last:
        transport.write(heads.LAST_CHUNK)
