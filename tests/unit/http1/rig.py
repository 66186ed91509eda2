"""The engine without sockets: a server connection and pooled upstream connections on recorded wires, driven step by step.

`Rig.send` is a read of the client's bytes; upstream wires parse what is written to them with a second, independent llhttp and answer by
`answer(request)`. Every state move is checked against states.py, so a test that walks a missing cell fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httptools

from services.core.verdicts import PARKED, Outcome
from services.http1 import heads, states
from services.http1.exchange import Exchange
from services.http1.limits import Deadlines, Limits
from services.http1.listener import HttpServer
from services.http1.pool import Pool
from services.http1.problems import ProblemWriter
from services.http1.runner import Pipeline, Stage
from services.http1.server import ServerConnection
from services.http1.sweeper import sweep
from services.http1.upstream import UpstreamConnection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


MOVES: list[tuple[int, int]] = []  # of every traced connection; a test that looks at them empties it first


class Wire:
    """A transport: keeps what is written; `high` bytes unwritten (while `stuck`) pause the writer."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.out = b""
        self.reading = True
        self.eof = False
        self.closed = ""  # "", close, abort
        self.stuck = False
        self.unwritten = 0
        self.half_closes = True  # False: TLS

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 50000) if name == "peername" else None

    def write(self, data: bytes) -> None:
        assert not self.eof, "written after the end"
        self.out += data
        if self.stuck:
            before, self.unwritten = self.unwritten, self.unwritten + len(data)
            if before <= 65536 < self.unwritten:
                self.protocol.pause_writing()

    def unstick(self) -> None:
        was, self.unwritten, self.stuck = self.unwritten, 0, False
        if was > 65536:
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unwritten

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return self.half_closes

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write_eof(self) -> None:
        self.eof = True

    def is_closing(self) -> bool:
        return bool(self.closed)

    def close(self) -> None:
        self._end("close")

    def abort(self) -> None:
        self._end("abort")

    def _end(self, how: str) -> None:
        self.closed = self.closed or how

    def lose(self) -> None:
        """The loop's next turn after a close, or the peer's reset."""
        self.closed = self.closed or "lost"
        self.protocol.connection_lost(None)


class TracedClient(ServerConnection):
    """Checks each move of the client table."""

    __slots__ = ("_state",)

    @property
    def state(self) -> int:  # type: ignore[override]
        return self._state

    @state.setter
    def state(self, after: int) -> None:
        before = getattr(self, "_state", states.IDLE)
        assert states.check_client(before, after), f"client {before} -> {after}"
        self._state = after
        MOVES.append((before, after))


class TracedUpstream(UpstreamConnection):
    """Checks each move of the upstream table."""

    __slots__ = ("_state",)

    @property
    def state(self) -> int:  # type: ignore[override]
        return self._state

    @state.setter
    def state(self, after: int) -> None:
        before = getattr(self, "_state", states.CONNECTING)
        assert states.check_upstream(before, after), f"upstream {before} -> {after}"
        self._state = after
        MOVES.append((before, after))


@dataclass
class Got:
    """A request as the upstream's own parser reads it."""

    method: bytes = b""
    target: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    whole: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]


class Origin:
    """What stands behind one upstream wire."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.raw = b""
        self.requests: list[Got] = []
        self.answered = 0
        self.upgraded = False
        self.parser: Any = httptools.HttpRequestParser(self)

    def take(self) -> None:
        if self.upgraded:  # what comes now is no HTTP
            return
        data, self.wire.out = self.wire.out, b""
        self.raw += data
        try:
            if data:
                self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.upgraded = True

    def on_url(self, url: bytes) -> None:
        self.requests.append(Got(self.parser.get_method(), url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.requests[-1].fields.append((name, value))

    def on_body(self, data: bytes) -> None:
        self.requests[-1].body += data

    def on_message_complete(self) -> None:
        self.requests[-1].whole = True


class RigPool(Pool):
    """Connects at once, to a wire."""

    __slots__ = ("connect", "rig")

    def __init__(self, rig: Rig, limits: Limits, deadlines: Deadlines) -> None:
        super().__init__("upstream", 80, limits, deadlines)
        self.rig = rig
        self.connect = True

    def _connect_more(self) -> None:
        if self.connect and self.waiters:
            connection = TracedUpstream(self)
            wire = Wire()
            wire.protocol = connection
            self.rig.origins.append(Origin(wire))
            self._busy_add(connection)
            connection.connection_made(wire)  # type: ignore[arg-type]
            self._connected(connection)

    def _busy_add(self, connection: UpstreamConnection) -> None:
        self._busy.add(connection)

    def _sweep_later(self) -> None:
        """No loop here."""

    def _fail_soon(self, waiter: Any, failure: Any) -> None:
        self.rig.later.append((waiter, failure))


class Rig:
    def __init__(
        self,
        *,
        limits: Limits | None = None,
        deadlines: Deadlines | None = None,
        stages: tuple[Stage, ...] = (),
        answer: Callable[[Got], bytes | None] | None = None,
        strict_targets: bool = False,
        names: heads.Names = heads.GATEWAY_NAMES,
        **hooks: Any,
    ) -> None:
        self.limits = limits or Limits()
        self.deadlines = deadlines or Deadlines()
        self.origins: list[Origin] = []
        self.later: list[Any] = []
        self.exchanges: list[Exchange] = []
        self.finished: list[Exchange] = []
        self.heads = 0
        self.answer = answer or (lambda _request: OK)
        self.pool = RigPool(self, self.limits, self.deadlines)
        finish = (*hooks.pop("on_finish", ()), self.finished.append)
        on_head = (*hooks.pop("on_head", ()), self._on_head)
        self.pipeline = Pipeline((self._seen, *stages, self._forward), on_head, finish, **hooks)
        self.server = HttpServer(
            self.pipeline,
            self.limits,
            self.deadlines,
            ProblemWriter("gateway", "t"),
            b"gateway-t",
            names=names,
            strict_targets=strict_targets,
        )
        self.server.date_line = b"Date: today\r\n"
        self.client = TracedClient(self.server)
        self.wire = Wire()
        self.wire.protocol = self.client
        self.client.connection_made(self.wire)  # type: ignore[arg-type]

    def another_client(self) -> Wire:
        """A further connection to the same server."""
        client, wire = TracedClient(self.server), Wire()
        wire.protocol = client
        client.connection_made(wire)  # type: ignore[arg-type]
        return wire

    def send(self, data: bytes, *, settle: bool = True) -> None:
        """A read; bytes that come while reading is paused wait, as a socket would let them."""
        if data and not self.wire.closed:
            self.client.data_received(data)
        if settle:
            self.settle()

    def send_in(self, *parts: bytes) -> None:
        """Reads, with the upstreams' answers between them; a paused reader gets the next one once it reads again."""
        for part in parts:
            self.send(part)

    def settle(self) -> None:
        """Let the upstreams answer until nothing moves."""
        moved = True
        while moved:
            moved = False
            for origin in self.origins:
                origin.take()
                ready = [request for request in origin.requests if request.whole]
                if len(ready) > origin.answered and not origin.wire.closed:
                    reply = self.answer(ready[origin.answered])
                    if reply is not None:
                        origin.answered += 1
                        origin.wire.protocol.data_received(reply)
                        moved = True
        if self.wire.closed and self.client.transport is self.wire and self.client.state != states.CLOSED:
            self.wire.lose()

    def tick(self, after_s: float) -> bool:
        """The sweeper's look, so many seconds from now."""
        kept = sweep(self.client, time.monotonic() + after_s)
        self.settle()
        return kept

    def forwarded(self) -> list[Got]:
        return [request for origin in self.origins for request in origin.requests]

    def answers(self) -> list[tuple[int, bytes]]:
        return parse_answers(self.wire.out, [x.method for x in self.exchanges])

    def _seen(self, x: Exchange) -> Outcome:
        self.exchanges.append(x)
        return None

    def _forward(self, x: Exchange) -> Outcome:
        self.pool.start(x, heads.request_head(x, (b"Via: 1.1 gateway-t\r\n",)))
        return PARKED

    def _on_head(self, _x: Exchange) -> None:
        self.heads += 1


class Answers:
    """Reads answers as a client would."""

    def __init__(self) -> None:
        self.found: list[tuple[int, bytes]] = []
        self.heads: list[dict[bytes, list[bytes]]] = []
        self.parser: Any = httptools.HttpResponseParser(self)
        self.whole = 0
        self._fields: dict[bytes, list[bytes]] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.setdefault(name.lower(), []).append(value)

    def on_headers_complete(self) -> None:
        self.found.append((self.parser.get_status_code(), b""))
        self.heads.append(self._fields)
        self._fields = {}

    def on_body(self, data: bytes) -> None:
        status, body = self.found[-1]
        self.found[-1] = (status, body + data)

    def on_message_complete(self) -> None:
        self.whole += 1


def parse_answers(data: bytes, _methods: list[bytes] | None = None) -> list[tuple[int, bytes]]:
    """Status and body of each answer in `data`. HEAD answers must be the last."""
    reader = Answers()
    if data:
        reader.parser.feed_data(data)
    return reader.found


def answer_heads(data: bytes) -> list[dict[bytes, list[bytes]]]:
    reader = Answers()
    reader.parser.feed_data(data)
    return reader.heads
