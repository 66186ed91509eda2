"""What a client sends, into exchanges: the reading half of a server connection (data-path 2, "Reading").

llhttp cannot be stopped inside a buffer and a read may bring 256 000 B, so it is fed pieces and what each brought is
looked at: a head up to its blank line and nothing behind it, exactly what lacks of a body of known length, 96 B of a
chunked body. A read that is one head and nothing else is fed as it is; that is nearly every request. So `raw` always
holds the bytes of the head that is being read, limits are exact whatever the split, and llhttp needs no callback for
names and values (requests.py takes them from `raw`, once llhttp has accepted it). Messages enter a queue of exchanges;
a parse error does too, so that earlier requests are answered first. server.py, the other half, runs and answers the
exchanges.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from services.core.verdicts import Refusal
from services.http1 import faults, heads
from services.http1.exchange import CHUNKED, DONE, LENGTH, Exchange
from services.http1.faults import RefusedError
from services.http1.requests import read_head
from services.http1.states import ACTIVE, ANSWERED, HEAD, IDLE
from services.runtime.log import get_log

if TYPE_CHECKING:
    from services.http1.listener import HttpServer

CRLF: Final = b"\r\n"
HEAD_END: Final = b"\r\n\r\n"
# an extension of 512 B leaves at least 322 B of pieces that bring nothing, however the bytes are split …
CHUNKED_SLICE: Final = 96
EXTENSION_SILENT: Final = 276  # … and one of 256 B, with 16 digits and CRLF, never more than these
KEEP_UNREAD_MAX: Final = 64 * 1024  # an unread body this long is read and dropped; a longer one costs the connection
log = get_log(__name__)


class Intake:
    """The fields of a server connection, llhttp's callbacks, and the feeding. `ServerConnection` is the only
    subclass.
    """

    __slots__ = (
        "aged",
        "body_stopped",
        "chunk_bytes",
        "chunk_count",
        "chunk_line",
        "current",
        "discarded",
        "eof",
        "expires",
        "guessing",
        "head_since",
        "held",
        "idle_s",
        "last",
        "mark_at",
        "mark_bytes",
        "memo",
        "parser",
        "paused",
        "peer",
        "pumping",
        "queue",
        "raw",
        "reading",
        "server",
        "silent",
        "since",
        "source",
        "spoke",
        "stall_bytes",
        "state",
        "tail",
        "transport",
        "upgraded",
        "watched",
        "write_paused",
    )

    def __init__(self, server: HttpServer, peer: Any = None) -> None:
        self.server = server
        self.transport: Any = None
        self.peer = peer  # ("127.0.0.1", 5004): the socket's peer, or whom its PROXY header names (door.py)
        self.parser: Any = None  # None: nothing more is parsed
        self.source = ""  # as what it counts against `max_connections_per_ip`; empty: not at all
        self.memo: Any = None  # whatever the app keeps with a connection
        self.state = IDLE
        self.reading: Exchange | None = None  # whose body is arriving
        self.current: Exchange | None = None
        self.queue: deque[Exchange] | None = None
        # the head that is arriving
        self.raw = b""
        self.head_since = 0.0
        self.guessing = False  # its method is none that llhttp knows: what is it?
        self.last = False  # a message that ends the connection is whole, or refused: what follows is not parsed
        self.upgraded = False  # llhttp has skipped the body of the message it just ended
        self.held: bytes | None = None  # read, not fed: the queue is full
        self.pumping = False
        # the body that is arriving
        self.chunk_bytes = 0
        self.chunk_count = 0
        self.chunk_line = False  # a chunk's size and extension, not its data or the trailers
        self.tail = b""  # the last bytes that were fed of a chunked body
        self.silent = 0  # bytes of pieces that brought nothing
        self.spoke = False
        self.discarded = 0
        # flow
        self.paused = False
        self.body_stopped = False
        self.write_paused = False
        self.eof = False
        # the sweeper's (sweeper.py)
        self.watched = False
        self.aged = False  # draining, or old: the next answer closes
        self.since = 0.0  # when the state was entered, as far as a deadline hangs on it
        self.mark_at = 0.0  # a moment, and the body bytes there were then
        self.mark_bytes = 0
        self.stall_bytes = 0  # unwritten bytes at the last look
        self.idle_s = 0.0
        self.expires = 0.0

    # -- llhttp's calls

    def on_headers_complete(self) -> None:
        x = read_head(self, self.raw, self.parser)
        self.raw = b""
        self.head_since = 0.0
        if not x.body_done:
            self.reading = x
        elif not x.keep_alive:
            self.last = True
        if self.current is None:
            self.current = x
            self.state = ACTIVE
        else:
            self.enqueue(x)

    def on_body(self, data: bytes) -> None:
        x = self.reading
        if x is None:
            return
        self.spoke = True
        self.silent = 0
        x.bytes_in += len(data)
        if x.state == DONE:
            self.discarded += len(data)
        elif x.bytes_in > x.body_max:
            raise RefusedError(faults.BODY_TOO_LARGE)
        else:
            x.body.append(data)

    def on_message_complete(self) -> None:
        x = self.reading
        if x is None or self.upgraded:
            return
        self.reading = None
        x.body_done = True
        self.spoke = True
        if self.state == ANSWERED:
            self.state = IDLE
        if not x.keep_alive:
            self.last = True

    def on_chunk_header(self) -> None:
        self.spoke = True
        self.silent = 0
        self.chunk_line = False
        self.chunk_count += 1

    def on_chunk_complete(self) -> None:
        self.spoke = True
        self.silent = 0
        self.chunk_line = True

    # -- requests.py's calls

    def body_begins(self, x: Exchange) -> None:
        """The head of a request with a body is whole."""
        self.mark_at = x.started
        self.mark_bytes = 0
        self.chunk_bytes = 0
        self.chunk_count = 0
        self.chunk_line = True
        self.silent = 0
        self.tail = b""

    # -- the server half's calls

    def feed_pieces(self, data: bytes) -> None:
        """Feed so that no limit can be overrun inside a buffer, the queue's neither: what is over it is held."""
        if self.held is not None:
            self.held += data
            return
        view = memoryview(data)
        at = 0
        while at < len(view) and self.parser is not None:
            if self.reading is not None:
                piece = view[at : at + self._body_piece(self.reading, data, at)]
                self._feed_body(self.reading, piece)
            elif self.queue is not None and len(self.queue) >= self.server.limits.pipeline_max:
                self.held = bytes(view[at:])
                self.regulate()
                return
            else:
                piece = view[at : at + self._head_piece(data, at)]
                self._feed_head(piece)
            at += len(piece)

    def stopped(self, error: Exception) -> None:
        """The parser will take no more: refused, an upgrade we do not serve, or a fault of ours."""
        cause = error.__context__
        if isinstance(error, HttpParserUpgrade):
            self._go_on_after_upgrade()
        elif self.last:
            self.parser = None
        elif isinstance(cause, RefusedError):
            self.refuse(cause.refusal)
        elif cause is not None:
            log.error("parser callback failed", exc_info=cause)
            self.refuse(faults.bad("internal", slug="internal-error"))
        elif str(error) in faults.METHOD_REASONS and self.reading is None:
            self.guess_method(b"")
        else:
            self.refuse(faults.of_parser(str(error)))

    def guess_method(self, more: bytes) -> None:
        """501 for a method we lack, 400 for what is none; it may take more bytes to tell."""
        self.parser = None
        self.raw = raw = self.raw + more
        refusal = faults.unknown_method(raw)
        self.guessing = refusal is None
        if refusal is not None:
            self.refuse(refusal)
        elif raw:
            self.head_unfinished()

    def refuse(self, refusal: Refusal) -> None:
        """What is being read is malformed: answered in its turn, and nothing behind it is parsed."""
        x, self.reading = self.reading, None
        self.parser = None
        self.held = None
        self.guessing = False
        self.server.count_bad(refusal.reason)
        if x is None:
            x = self._unreadable()
        x.keep_alive = False
        if x.fault is None:
            x.fault = refusal
        if x is self.current:
            self.current_refused(x, refusal)

    def enqueue(self, x: Exchange) -> None:
        if self.current is None:
            self.current = x
            self.state = ACTIVE
        elif self.queue is None:
            self.queue = deque((x,))
        else:
            self.queue.append(x)

    if TYPE_CHECKING:  # ServerConnection has them

        def regulate(self) -> None: ...
        def current_refused(self, x: Exchange, refusal: Refusal) -> None: ...

    # -- inside

    def _head_piece(self, data: bytes, at: int) -> int:
        """How much may be fed: to the end of the head, of the longest request line or of the longest head."""
        raw = self.raw
        limits = self.server.limits
        size = (limits.head_max if CRLF in raw else limits.request_line_max + 2) - len(raw)
        before = raw[-3:]
        end = (before + data[at : at + size]).find(HEAD_END)
        return size if end < 0 else end + 4 - len(before)

    def _feed_head(self, piece: memoryview) -> None:
        self.raw = (self.raw + piece).lstrip(CRLF)
        try:
            self.parser.feed_data(piece)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.stopped(error)
        if self.last:
            self.parser = None
        elif self.raw and self.parser is not None:
            self.head_unfinished()

    def head_unfinished(self) -> None:
        """A feed ended inside a head; it may be too long by now."""
        self.raw = raw = self.raw.lstrip(CRLF)
        if not raw:
            return
        if not self.head_since:
            self.head_since = monotonic()
        if self.state == IDLE:
            self.state = HEAD
        limits = self.server.limits
        if CRLF not in raw:
            if len(raw) >= limits.request_line_max + 2:
                self.refuse(faults.LINE_TOO_LONG)
        elif len(raw) >= limits.head_max:
            self.refuse(faults.HEAD_TOO_LARGE)

    def _unreadable(self) -> Exchange:
        """The exchange of a head that cannot be read: what is known of it."""
        words = self.raw.split(CRLF, 1)[0].split()
        self.raw = b""
        self.head_since = 0.0
        x = Exchange(self, self.server.pipeline, words[1].partition(b"?")[0] if len(words) > 1 else b"", 0)  # type: ignore[arg-type]
        x.method = words[0] if len(words) > 1 else b""
        x.started = x.now = now = monotonic()
        x.deadline = now + self.server.total_s
        self.enqueue(x)
        return x

    def _body_piece(self, x: Exchange, data: bytes, at: int) -> int:
        """How much may be fed: what lacks; of a chunked body, which always ends with an empty line, at most to the next
        one.
        """
        if x.framing == LENGTH:
            return x.length - x.bytes_in
        known = self.tail + data[at : at + CHUNKED_SLICE]
        end = known.find(HEAD_END)
        size = CHUNKED_SLICE if end < 0 else end + 4 - len(self.tail)
        self.tail = known[-3:] if end < 0 else b""
        return size

    def _feed_body(self, x: Exchange, piece: memoryview) -> None:
        before = x.bytes_in
        self.spoke = False
        try:
            self.parser.feed_data(piece)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.stopped(error)
            return
        if self.last:
            self.parser = None
        elif x.framing == CHUNKED and self.reading is x:
            self._account(len(piece), x.bytes_in - before)

    def _account(self, size: int, body: int) -> None:
        """A piece of a chunked body: extension, trailers and the sum of all framing stay within their bounds."""
        limits = self.server.limits
        self.chunk_bytes += size - body
        found: Refusal | None = None
        if not self.spoke:
            self.silent += size
            if self.chunk_line:
                found = faults.CHUNK_EXTENSION if self.silent > EXTENSION_SILENT else None
            elif self.silent > limits.trailers_max:
                found = faults.TRAILERS_TOO_LARGE
        if self.chunk_bytes > limits.chunk_framing_max + limits.chunk_framing_each * self.chunk_count:
            found = found or faults.CHUNK_FRAMING
        if found is not None:
            self.refuse(found)

    def _go_on_after_upgrade(self) -> None:
        """An Upgrade that is not served: the request stays, and so does its body, which llhttp has skipped."""
        self.upgraded = False
        if self.last:
            self.parser = None
        else:
            self.parser = HttpRequestParser(self) if self.reading is None else primed_parser(self, self.reading)


class Primer:
    """llhttp's callbacks, muted while a new parser is told which kind of body comes; then the connection's."""

    def __init__(self, target: Intake) -> None:
        self._target = target
        self._live = False

    def prime(self, framing: bytes) -> HttpRequestParser:
        parser = HttpRequestParser(self)
        parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
        self._live = True
        return parser

    def on_headers_complete(self) -> None:
        if self._live:
            self._target.on_headers_complete()

    def on_body(self, data: bytes) -> None:
        self._target.on_body(data)

    def on_message_complete(self) -> None:
        self._target.on_message_complete()

    def on_chunk_header(self) -> None:
        self._target.on_chunk_header()

    def on_chunk_complete(self) -> None:
        self._target.on_chunk_complete()


def primed_parser(target: Intake, x: Exchange) -> HttpRequestParser:
    """A parser that stands before the body of x."""
    framing = heads.CHUNKED_LINE if x.framing == CHUNKED else b"Content-Length: %d\r\n" % x.length
    return Primer(target).prime(framing)
