"""The client's side of the engine: exchanges are run, and answered in request order (data-path 2).

One object per client connection, duck-typed as an asyncio protocol (uvloop asks for no base class). `reading` is the
exchange whose head or body is arriving, `current` the one that is run and answered, `queue` what was pipelined behind
it. The pipeline starts after a feed, so a body that came with its head is there already. States and moves: states.py;
the walk over the stages: runner.py; deadlines: sweeper.py.

    data_received ─> intake.py: llhttp ─> Exchange ─> current ─> runner.start ─> stages ─> next hop ─> answer, body
                                             └─> queue                              └─> reply            │
                                                    └──────<── ANSWERED, IDLE, HEAD, CLOSING <────── done
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from random import random
from time import monotonic
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from services.core.verdicts import Answer, Outcome, Refusal
from services.http1 import faults, heads, requests, runner, tunnel
from services.http1.exchange import ANSWERING, CHUNKED, DONE, LENGTH, NEW, NO_BODY, UNTIL_CLOSE, Exchange
from services.http1.framing import chunk
from services.http1.heads import UpstreamHead
from services.http1.intake import HEAD_END, KEEP_UNREAD_MAX, Intake
from services.http1.states import ACTIVE, ANSWERED, CLOSED, CLOSING, HEAD, IDLE, TUNNEL

BODYLESS: Final = frozenset({204, 304})
RESET_AT_ONCE: Final = struct.pack("ii", 1, 0)  # struct linger: on, no seconds


class ServerConnection(Intake):
    __slots__ = ()

    # -- the transport's calls

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.peer = self.peer or transport.get_extra_info("peername")
        self.parser = HttpRequestParser(self)
        self.since = now = monotonic()
        deadlines = self.server.deadlines
        self.idle_s = deadlines.idle_s * (0.9 + 0.2 * random())  # noqa: S311  # spread, no secret
        self.expires = now + deadlines.connection_age_s * (0.9 + 0.2 * random())  # noqa: S311
        self.server.opened(self)

    def data_received(self, data: bytes) -> None:
        if not self.watched:
            self.server.watch(self)
        parser = self.parser
        if parser is None:
            self._unparsed(data)
        elif (
            self.current is None
            and self.reading is None
            and not self.raw
            and len(data) <= self.server.short_max
            and data.find(HEAD_END, 0, -1) < 0  # one head, or the beginning of one: nothing behind it
        ):
            self.raw = data
            try:
                parser.feed_data(data)
            except (HttpParserError, HttpParserUpgrade) as error:
                self.stopped(error)
            if self.last:
                self.parser = None
            if self.raw:
                self.head_unfinished()
        else:
            reading = self.reading
            self.feed_pieces(data)
            if reading is not None:
                self._body_came(reading)
            if self.reading is not None and self.reading is not reading:
                self._body_came(self.reading)
        x = self.current
        if x is not None and x.state == NEW:
            runner.start(x)

    def start_current(self) -> None:
        x = self.current
        if x is not None and x.state == NEW:
            runner.start(x)

    def eof_received(self) -> bool:
        self.eof = True
        self.parser = None
        self.held = None
        x, self.reading = self.reading, None
        if x is not None and x is self.current:
            self._gone()
        elif x is not None and self.queue and self.queue[-1] is x:
            self.queue.pop()
        if not self.transport.can_write_eof():  # TLS has no half-close: nobody is left to answer
            self._gone()
            self.close()
            return False
        if self.current is None:
            self.close()
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        self.state = CLOSED
        self.parser = None
        self.held = None
        self._gone()
        self.reading = None
        self.server.closed(self)

    def pause_writing(self) -> None:
        self.write_paused = True
        self.since = monotonic()
        x = self.current
        if x is not None and x.upstream is not None:
            x.upstream.pause_reading()

    def resume_writing(self) -> None:
        self.write_paused = False
        x = self.current
        if x is not None and x.upstream is not None:
            x.upstream.resume_reading()

    # -- an exchange's calls: the stages' outcome, the next hop's answer

    def reply(self, x: Exchange, out: Outcome) -> None:
        """Send a refusal, or an answer of this process."""
        if isinstance(out, Refusal):
            x.reason = out.reason
            x.close = x.close or out.close
            status, lines, body = self.server.problems.render(x, out)
            self._send_own(x, status, lines, body)
        elif isinstance(out, Answer):
            self._send_own(x, out.status, out.headers, out.body)

    def answer(self, x: Exchange, head: UpstreamHead, pieces: list[bytes], whole: bool) -> None:
        """The next hop's head, what came of the body with it, and whether that is all: one write."""
        x.head = head
        try:
            for hook in x.pipeline.on_head:
                hook(x)
        except Exception:  # noqa: BLE001  # logged there
            runner.broken(x)
            return
        x.state = ANSWERING
        x.status = status = head.status
        framing = head.framing
        parts = [heads.STATUS_LINES[status], *head.fields, *x.extra]
        if framing >= CHUNKED:  # no length; a length stands among the fields
            if x.version == requests.V10:
                framing = UNTIL_CLOSE
                x.close = True
            else:
                framing = CHUNKED
                parts.append(heads.CHUNKED_LINE)
        x.answer_framing = framing
        if b"date" not in head.special:
            parts.append(self.server.date_line)
        self._end_head(x, parts)
        if pieces:
            if framing == CHUNKED:
                pieces = [chunk(b"".join(pieces))]
            if framing != NO_BODY:
                parts += pieces
        if whole and framing == CHUNKED:
            parts.append(heads.LAST_CHUNK)
        data = b"".join(parts)
        x.bytes_out = len(data)
        self.transport.write(data)
        if whole:
            self.done(x)
        elif self.write_paused and x.upstream is not None:
            x.upstream.pause_reading()

    def body(self, x: Exchange, pieces: list[bytes], whole: bool) -> None:
        """More of the next hop's answer."""
        framing = x.answer_framing
        write = self.transport.write
        if framing == CHUNKED:
            size = sum(map(len, pieces))
            if size:
                write(b"%x\r\n" % size)
                pieces.append(heads.CRLF)
            if whole:
                pieces.append(heads.LAST_CHUNK)
        if framing != NO_BODY:
            for piece in pieces:
                x.bytes_out += len(piece)
                write(piece)
        if whole:
            self.done(x)
        elif self.write_paused and x.upstream is not None:
            x.upstream.pause_reading()

    def interim(self, x: Exchange, head: UpstreamHead) -> None:
        """102 and 103 go on to those who know them."""
        if x is self.current and x.version == requests.V11:
            self.transport.write(b"".join((heads.STATUS_LINES[head.status], *head.fields, heads.CRLF)))

    def switch(self, x: Exchange, head: UpstreamHead) -> bool:
        """Answer with the 101 that x asked for: what comes next belongs to its tunnel. False: refused. Bytes that came
        before the 101 are no part of the new protocol and must not become one.
        """
        server = self.server
        early = self.queue or self.raw or self.held is not None or self.eof
        if early or server.tunnels >= server.limits.streams_max:
            runner.refuse(x, faults.EARLY_BYTES if early else tunnel.TOO_MANY)
            return False
        x.head = head
        try:
            for hook in x.pipeline.on_head:
                hook(x)
        except Exception:  # noqa: BLE001  # logged there
            runner.broken(x)
            return False
        x.state = ANSWERING
        x.status = head.status
        x.deadline = 0.0
        self.state = TUNNEL
        self.parser = None
        server.tunnels += 1
        self.transport.write(
            b"".join((heads.STATUS_LINES[101], *head.fields, *x.extra, *tunnel.UPGRADE_LINES, heads.CRLF))
        )
        return True

    def tunnel_lost(self) -> None:
        self.state = CLOSED
        self.current = None
        self.server.closed(self)

    def please_continue(self, x: Exchange) -> None:
        """Every stage has passed and a next hop has x: the client may send its body."""
        del x.special[b"expect"]
        if not x.bytes_in:
            self.transport.write(heads.CONTINUE)

    def drop_upstream(self, x: Exchange) -> None:
        """Whoever carries x stops."""
        carrier = x.upstream
        if carrier is not None:
            x.upstream = None
            carrier.drop(x)

    def cut(self, x: Exchange) -> None:
        """The answer cannot be completed: the client must see that it is not whole."""
        if x.state == DONE:
            return
        self.drop_upstream(x)
        x.reason = x.reason or "cut"
        x.now = monotonic()
        runner.finish(x)
        self.reset()

    def stop_body(self) -> None:
        """The next hop takes no more of the request for now."""
        self.body_stopped = True
        self.regulate()

    def go_on_body(self) -> None:
        if self.body_stopped:
            self.body_stopped = False
            self.mark_at = monotonic()
            self.regulate()

    def done(self, x: Exchange) -> None:
        """The answer is written: what the connection does next."""
        runner.finish(x)
        if self.current is not x:
            return
        self.current = None
        if self.body_stopped:
            self.go_on_body()
        if x.close:
            self.half_close()
        elif not x.body_done:
            self.state = ANSWERED
            self.discarded = 0
        elif self.queue or self.held is not None:
            self._pump()
        else:
            self.state = HEAD if self.raw else IDLE
            if self.eof:
                self.close()

    def current_refused(self, x: Exchange, refusal: Refusal) -> None:
        """The body of the current request went wrong; if it is not under way yet, its fault is its answer."""
        if x.state == DONE:
            self.half_close()
        elif x.state >= ANSWERING:
            self.cut(x)
        elif x.state != NEW:
            x.close = True
            runner.refuse(x, refusal)

    # -- inside: answering, closing, flow

    def _body_came(self, x: Exchange) -> None:
        """More of x's body is here, or it is whole; or it is only a head's beginning."""
        if x.state == DONE:
            if x is self.reading and self.discarded > KEEP_UNREAD_MAX:
                self.half_close()
        elif x.upstream is not None:
            x.upstream.more(x)
        elif not x.body_done and x.bytes_in > self.server.limits.pending_body_max:
            self.stop_body()

    def _unparsed(self, data: bytes) -> None:
        """Bytes behind the last message: dropped, but for the rest of a method that is being guessed at."""
        if self.state == CLOSING:
            self.discarded += len(data)
            if self.discarded > self.server.limits.linger_max:
                self.abort()
        elif self.guessing:
            self.guess_method(data)

    def _send_own(self, x: Exchange, status: int, lines: Sequence[bytes], body: bytes) -> None:
        if not x.body_done:
            left = x.length - x.bytes_in if x.framing == LENGTH else KEEP_UNREAD_MAX + 1
            if left > KEEP_UNREAD_MAX or b"expect" in x.special:
                x.close = True
        for hook in x.pipeline.on_head:
            hook(x)
        x.state = ANSWERING
        x.status = status
        parts = [heads.STATUS_LINES[status], *lines, *x.extra, self.server.date_line]
        if status not in BODYLESS:
            parts.append(b"Content-Length: %d\r\n" % len(body))
            x.answer_framing = LENGTH
        self._end_head(x, parts)
        if x.method != b"HEAD" and status not in BODYLESS:
            parts.append(body)
        data = b"".join(parts)
        x.bytes_out = len(data)
        self.transport.write(data)
        self.done(x)

    def _end_head(self, x: Exchange, parts: list[bytes]) -> None:
        if x.close or self.aged or not x.keep_alive:
            x.close = True
            parts.append(heads.CLOSE_AND_END)
        elif x.version == requests.V10:
            parts.append(heads.KEEP_ALIVE_AND_END)
        else:
            parts.append(heads.CRLF)

    def _pump(self) -> None:
        """Run what is queued, then feed what was held; never from inside itself."""
        if self.pumping:
            return
        self.pumping = True
        try:
            while self.current is None and self.state not in {CLOSING, CLOSED}:
                if self.queue:
                    self.current = x = self.queue.popleft()
                    self.state = ACTIVE
                    x.now = monotonic()
                    runner.start(x)
                elif self.held is not None:
                    held, self.held = self.held, None
                    self.regulate()
                    self._feed_held(held)
                else:
                    self.state = HEAD if self.raw else IDLE
                    if self.eof:
                        self.close()
                    break
        finally:
            self.pumping = False

    def _feed_held(self, held: bytes) -> None:
        self.feed_pieces(held)
        if self.reading is not None:
            self._body_came(self.reading)
        self.start_current()

    def regulate(self) -> None:
        """Reading stops for backpressure only: it costs two system calls, and a paused connection notices no reset."""
        stop = self.state < CLOSING and (self.held is not None or self.body_stopped)
        if stop != self.paused and self.transport is not None and not self.transport.is_closing():
            self.paused = stop
            if stop:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def half_close(self) -> None:
        """The last byte is written; the client may still be sending, and a reset would eat the answer."""
        self.state = CLOSING
        self.parser = None
        self.reading = None
        self.held = None
        self._forget_queue()
        self.discarded = 0
        self.since = monotonic()
        self.server.watch(self)
        if self.eof or self.transport.is_closing() or not self.transport.can_write_eof():
            self.close()
        else:
            self.regulate()
            self.transport.write_eof()

    def close(self) -> None:
        self.state = CLOSED
        self.parser = None
        self.transport.close()

    def abort(self) -> None:
        self.state = CLOSED
        self.parser = None
        self.transport.abort()

    def reset(self) -> None:
        """Abort with a reset: to a client that waits for the end of the connection, a plain close would look like the
        end of the answer.
        """
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
        self.abort()

    def _gone(self) -> None:
        """The client is away: nothing that is under way for it goes on."""
        x = self.current
        if x is not None:
            self.current = None
            self.server.client_aborts += 1
            self.drop_upstream(x)
            x.reason = x.reason or "client-gone"
            x.now = monotonic()
            runner.finish(x)
        self._forget_queue()

    def _forget_queue(self) -> None:
        """What was never run has nothing to settle."""
        if self.queue:
            for x in self.queue:
                x.state = DONE
            self.queue.clear()
