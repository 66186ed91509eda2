"""What a client sends, into exchanges: the reading half of a server connection (data-path 2, "Reading").

llhttp cannot be stopped inside a buffer and a read may bring 256 000 B, so it is fed slices and what each brought is
looked at: 4 KiB while a head is awaited, exactly what lacks of a body of known length, 96 B of a chunked one. A read of
at most 4 KiB that begins with a message is fed whole; that is nearly every request. Messages enter a queue of
exchanges; a parse error does too, so that earlier requests are answered first. requests.py checks each head; server.py,
the other half, runs and answers the exchanges.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from services.core.verdicts import Refusal
from services.http1 import faults, heads, requests
from services.http1.exchange import CHUNKED, DONE, LENGTH, NO_BODY, Exchange
from services.http1.faults import RefusedError
from services.http1.framing import has_long_extension
from services.http1.heads import CRLF
from services.http1.states import ACTIVE, ANSWERED, HEAD, IDLE
from services.runtime.log import get_log

if TYPE_CHECKING:
    from services.http1.heads import Entry
    from services.http1.listener import HttpServer

HEAD_SLICE: Final = 4096
CHUNKED_SLICE: Final = (
    96  # an extension of 512 B leaves at least 322 B of slices that bring nothing, however the bytes are split …
)
EXTENSION_SILENT: Final = 276  # … and one of 256 B, with 16 digits and CRLF, never more than these
EXTENSION_MAX: Final = 384  # where it can be measured exactly
KEEP_UNREAD_MAX: Final = 64 * 1024  # an unread body this long is read and dropped; a longer one costs the connection
NO_NAMES: Final[dict[bytes, bytes]] = {}  # behind the head of a chunked body a name is a trailer's
log = get_log(__name__)


class Intake:
    """The fields of a server connection, llhttp's callbacks, and the feeding. `ServerConnection` is the only
    subclass.
    """

    __slots__ = (
        "aged",
        "begun",
        "body_stopped",
        "chunk_bytes",
        "chunk_count",
        "chunk_line",
        "chunked_in",
        "current",
        "data",
        "discarded",
        "eof",
        "expires",
        "head_bytes",
        "held",
        "idle_s",
        "last",
        "mark_at",
        "mark_bytes",
        "parser",
        "paused",
        "peer",
        "plain",
        "prefix",
        "pumping",
        "queue",
        "reading",
        "server",
        "silent",
        "since",
        "spoke",
        "stall_bytes",
        "state",
        "tail",
        "trailer_bytes",
        "transport",
        "upgraded",
        "watched",
        "write_paused",
    )

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.transport: Any = None
        self.peer: Any = None  # the socket's peer address: ("127.0.0.1", 5004)
        self.parser: Any = None  # None: nothing more is parsed
        self.state = IDLE
        self.reading: Exchange | None = None
        self.current: Exchange | None = None
        self.queue: deque[Exchange] | None = None
        self.plain: dict[bytes, bytes] = server.names.plain
        # one feed
        self.data: bytes | None = None  # the read, if it is fed whole
        self.begun = 0  # request lines in this feed
        self.last = False  # a message that ends the connection is whole: what follows is not parsed
        self.upgraded = False  # llhttp has skipped the body of the message it just ended
        self.prefix = b""  # the start of a message whose method is not whole
        self.held: bytes | None = None  # read, not fed: the queue is full
        self.pumping = False
        # the head or body that is arriving
        self.tail = b""  # the last bytes of an unfinished head that was fed in slices
        self.head_bytes = 0  # of an unfinished head: whole slices only, so never too many
        self.chunked_in = b""  # what of a chunked body came in the short read of its head
        self.chunk_bytes = 0
        self.chunk_count = 0
        self.chunk_line = False
        self.trailer_bytes = 0
        self.silent = 0  # bytes of slices that brought nothing
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

    def on_url(self, url: bytes) -> None:
        x = self.reading
        if x is None:
            if self.last:
                raise RefusedError(faults.AFTER_CLOSE)
            server = self.server
            self.reading = x = Exchange(self, server.pipeline, url, server.body_max)  # type: ignore[arg-type]
            self.begun += 1
            if self.state == IDLE:
                self.state = HEAD
        else:
            x.path += url
        if len(x.path) > self.server.target_max:
            raise RefusedError(faults.LINE_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        start = self.plain.get(name)
        x = self.reading
        if start is not None:
            x.fields.append(start + value + CRLF)  # type: ignore[union-attr]  # a field follows a request line
        elif self.plain is NO_NAMES:
            self._trailer(len(name) + len(value) + 4)
        else:
            entry = self.server.names.marked.get(name)
            if entry is None:
                entry = self._new_name(name)
            requests.special(x, entry, value)  # type: ignore[arg-type]

    def on_headers_complete(self) -> None:
        x = self.reading
        if x is None:
            return
        requests.head_whole(self, x, self.parser, self.data if self.begun == 1 else None)
        if self.current is None:
            self.current = x
            self.state = ACTIVE
        else:
            self._enqueue(x)

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
        if x.framing != NO_BODY:
            self._body_whole(x)
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
        if x.framing == CHUNKED:
            self.plain = NO_NAMES
            self.chunked_in = b"" if self.data is None else _behind(self.data, self.begun)
            self.chunk_bytes = 0
            self.chunk_count = 0
            self.trailer_bytes = 0
            self.chunk_line = True
            self.silent = 0

    # -- the server half's calls

    def feed_slices(self, data: bytes) -> None:
        """Feed so that no limit can be overrun inside a buffer, the queue's neither: what is over it is held."""
        if self.held is not None:
            self.held += data
            return
        view = memoryview(data)
        at = 0
        while at < len(view) and self.parser is not None:
            if self.queue is not None and len(self.queue) >= self.server.limits.pipeline_max:
                self.held = bytes(view[at:])
                self.regulate()
                return
            piece = view[at : at + self._slice_size(data, at)]
            at += len(piece)
            self._feed_slice(piece)

    def partial(self, data: bytes) -> None:
        """A feed ended before a request line was whole: keep what tells an unknown method from none."""
        if self.reading is None and self.begun == 0 and self.parser is not None:
            start = (self.prefix + data).lstrip(CRLF)
            self.prefix = start[: faults.METHOD_LENGTH_MAX]
            if start and self.state == IDLE:
                self.state = HEAD
                self.since = monotonic()

    def short_read_ended(self, data: bytes) -> None:
        """A read that was fed whole ended inside a message: what slices need to know of it."""
        self.tail = data[-3:]
        chunked = self.chunked_in
        if chunked:
            self.chunked_in = b""
            if has_long_extension(chunked, 0, EXTENSION_MAX):
                self.refuse(faults.CHUNK_EXTENSION)
            elif self.chunk_line:
                self.silent = len(chunked) - chunked.rfind(CRLF) - 2

    def stopped(self, error: Exception, data: bytes) -> None:
        """The parser will take no more: refused, an upgrade we do not serve, or a fault of ours."""
        cause = error.__context__
        if isinstance(error, HttpParserUpgrade):
            self._go_on_after_upgrade(data[error.args[0] :])
        elif self.last:
            self.parser = None
        elif isinstance(cause, RefusedError):
            self.refuse(cause.refusal)
        elif cause is not None:
            log.error("parser callback failed", exc_info=cause)
            self.refuse(faults.bad("internal", slug="internal-error"))
        elif str(error) in faults.METHOD_REASONS:
            self.guess_method(self.prefix + data if self.begun == 0 else _behind(data, self.begun))
        else:
            self.refuse(faults.of_parser(str(error)))

    def guess_method(self, start: bytes) -> None:
        """501 for a method we lack, 400 for what is none; it may take more bytes to tell."""
        refusal = faults.unknown_method(start)
        self.parser = None
        if refusal is not None:
            self.prefix = b""
            self.refuse(refusal)
            return
        if not self.prefix:
            self.since = monotonic()
        self.prefix = start
        if self.state == IDLE:
            self.state = HEAD

    def refuse(self, refusal: Refusal) -> None:
        """What is being read is malformed: answered in its turn, and nothing behind it is parsed."""
        x = self.reading
        parser, self.parser = self.parser, None
        self.reading = None
        self.held = None
        self.server.count_bad(refusal.reason)
        if x is None or not x.started:
            if x is None:
                x = Exchange(self, self.server.pipeline, b"", 0)  # type: ignore[arg-type]
            elif parser is not None:
                x.method = parser.get_method()
            x.started = now = monotonic()
            x.deadline = now + self.server.total_s
            self._enqueue(x)
        x.keep_alive = False
        if x.fault is None:
            x.fault = refusal
        if x is self.current:
            self.current_refused(x, refusal)

    def regulate(self) -> None:
        raise NotImplementedError

    def current_refused(self, x: Exchange, refusal: Refusal) -> None:
        raise NotImplementedError

    # -- inside

    def _slice_size(self, data: bytes, at: int) -> int:
        """How much may be fed: never a head and what follows it."""
        x = self.reading
        if x is None or not x.started:
            end = (self.tail + data[at : at + HEAD_SLICE]).find(b"\r\n\r\n")
            if end < 0:
                self.tail = (self.tail + data[at : at + HEAD_SLICE])[-3:]
                return HEAD_SLICE
            size = end + 4 - len(self.tail)
            self.tail = b""
            return size
        return x.length - x.bytes_in if x.framing == LENGTH else CHUNKED_SLICE

    def _feed_slice(self, piece: memoryview) -> None:
        x = self.reading
        before = 0 if x is None else x.bytes_in
        in_body = x is not None and x.started != 0.0
        self.begun = 0 if x is None else 1
        self.data = None
        self.spoke = False
        try:
            self.parser.feed_data(piece)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.stopped(error, bytes(piece))
            return
        if self.last:
            self.parser = None
        elif self.begun == 0:
            self.partial(bytes(piece))
        elif x is not None and x is self.reading:
            if in_body and x.framing == CHUNKED:
                self._account(len(piece), x.bytes_in - before)
            elif not x.started:
                self.head_bytes += len(piece)
                if self.head_bytes > self.server.limits.head_max:
                    self.refuse(faults.HEAD_TOO_LARGE)

    def _account(self, size: int, body: int) -> None:
        """A slice of a chunked body: extension, trailers and the sum of all framing stay within their bounds."""
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

    def _body_whole(self, x: Exchange) -> None:
        if x.framing == CHUNKED:
            self.plain = self.server.names.plain
            data, self.chunked_in = self.chunked_in, b""
            if data and has_long_extension(data, 0, EXTENSION_MAX):
                self.reading = x
                raise RefusedError(faults.CHUNK_EXTENSION)
        x.body_done = True
        self.spoke = True
        if self.state == ANSWERED:
            self.state = IDLE

    def _trailer(self, size: int) -> None:
        """Dropped, but counted."""
        self.trailer_bytes += size
        if self.trailer_bytes > self.server.limits.trailers_max:
            raise RefusedError(faults.TRAILERS_TOO_LARGE)

    def _new_name(self, name: bytes) -> Entry:
        """A spelling that was not seen before."""
        try:
            return self.server.names.learn(name)
        except heads.UnderscoreError:
            raise RefusedError(faults.UNDERSCORE) from None

    def _enqueue(self, x: Exchange) -> None:
        if self.current is None:
            self.current = x
            self.state = ACTIVE
        elif self.queue is None:
            self.queue = deque((x,))
        else:
            self.queue.append(x)

    def _go_on_after_upgrade(self, rest: bytes) -> None:
        """An Upgrade that is not served: the request stays, and so does its body, which llhttp has skipped."""
        self.upgraded = False
        if self.last:
            self.parser = None
            return
        self.parser = HttpRequestParser(self) if self.reading is None else primed_parser(self, self.reading)
        if rest:
            self.feed_slices(rest)


def _behind(data: bytes, count: int) -> bytes:
    """What follows so many heads (a body between them misleads it; only the status of a refusal hangs on it)."""
    at = 0
    for _ in range(count):
        at = data.find(b"\r\n\r\n", at) + 4
    return data[at:]


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

    def on_url(self, url: bytes) -> None:
        if self._live:
            self._target.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._live:
            self._target.on_header(name, value)

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
