"""The batch against a scripted server on a unix socket: replies are what each test says."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import hiredis
import pytest
import uvloop

from services.runtime.redis_batch import LOST, QUEUE_MAX, RedisBatch
from services.runtime.resp import command
from tests.harness.wait import eventually

SCRIPT = b"return 1"
LOAD = [b"SCRIPT", b"LOAD", SCRIPT]


class Server:
    """Answers PING and SCRIPT LOAD by itself; `answer` decides about the rest (None: silence). `silent` stops all
    answers.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.url = f"unix://{path}"
        self.answer: Callable[[list[bytes]], bytes | None] = lambda _: b"+OK\r\n"
        self.silent = False
        self.pong = b"+PONG\r\n"
        self.heard: list[list[bytes]] = []
        self.writes: list[int] = []  # commands per read
        self.writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        Path(self.path).unlink(missing_ok=True)  # noqa: ASYNC240  # a socket in /tmp

    def hang_up(self) -> None:
        for writer in self.writers:
            writer.close()
        self.writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        parser = hiredis.Reader(notEnoughData=LOST)
        while data := await reader.read(65536):
            parser.feed(data)
            count = 0
            while (parts := parser.gets()) is not LOST:
                count += 1
                self._hear(parts, writer)
            self.writes.append(count)
        writer.close()

    def _hear(self, parts: list[bytes], writer: asyncio.StreamWriter) -> None:
        if self.silent:
            return
        if parts == [b"HELLO"]:
            writer.write(b"*2\r\n+mode\r\n+standalone\r\n")
        elif parts == [b"PING"]:
            writer.write(self.pong)
        elif parts[0] == b"SCRIPT":
            self.heard.append(parts)
            writer.write(b"+sha\r\n")
        else:
            self.heard.append(parts)
            answer = self.answer(parts)
            if answer is not None:
                writer.write(answer)


class Sink:
    def __init__(self) -> None:
        self.got: list[tuple[object, object]] = []

    def __call__(self, ticket: object, reply: object) -> None:
        self.got.append((ticket, reply))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory(prefix="batch-", dir="/tmp") as folder:
        server = Server(f"{folder}/s")
        await server.start()
        yield server
        await server.stop()


@pytest.fixture
async def batch(server: Server) -> AsyncIterator[RedisBatch]:
    batch = RedisBatch(server.url, scripts=[SCRIPT], draw=lambda: 0.0)
    assert await batch.start(5)
    server.heard.clear()
    server.writes.clear()
    yield batch
    batch.close()


async def test_one_write_per_tick_and_replies_in_order(server: Server, batch: RedisBatch) -> None:
    """All commands of a tick leave together, and each sink gets its own reply; nil is None."""
    server.answer = lambda parts: b"$-1\r\n" if parts[1] == b"7" else b"$%d\r\n%b\r\n" % (len(parts[1]), parts[1])
    sink = Sink()
    for i in range(50):
        assert batch.submit(command("GET", str(i)), sink, i)
    assert sink.got == []  # never within submit
    await eventually(lambda: len(sink.got) == 50, 2, "all answered")
    assert sink.got == [(i, None if i == 7 else str(i).encode()) for i in range(50)]
    assert 50 <= max(server.writes) <= 51  # a PING may have joined them


async def test_noscript_loads_and_sends_again_once(server: Server, batch: RedisBatch) -> None:
    """The script is loaded, those commands go again in order, others are not held up."""
    known = False

    def answer(parts: list[bytes]) -> bytes:
        return b":1\r\n" if parts[0] == b"GET" or known else b"-NOSCRIPT No matching script\r\n"

    server.answer = answer
    sink = Sink()
    for i in range(3):
        batch.submit(command("EVALSHA", "sha", str(i)), sink, i)
    batch.submit(command("GET", "x"), sink, "get")
    await eventually(lambda: LOAD in server.heard, 2, "loaded")
    known = True
    await eventually(lambda: len(sink.got) == 4, 2, "all answered")
    assert sink.got[0] == ("get", 1)
    assert [ticket for ticket, _ in sink.got[1:]] == [0, 1, 2]
    assert server.heard.count(LOAD) == 1


async def test_noscript_twice_is_decided_locally(server: Server, batch: RedisBatch) -> None:
    """A server that forgets the script at once gets no third try."""
    server.answer = lambda _: b"-NOSCRIPT No matching script\r\n"
    sink = Sink()
    batch.submit(command("EVALSHA", "sha"), sink, "a")
    await eventually(lambda: sink.got, 2, "told")
    assert sink.got == [("a", LOST)]
    assert [parts[0] for parts in server.heard] == [b"EVALSHA", b"SCRIPT", b"EVALSHA"]


@pytest.mark.parametrize(
    "error", ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "OOM", "MISCONF", "WRONGTYPE", "ERR"]
)
async def test_error_replies_are_lost_and_three_open(server: Server, batch: RedisBatch, error: str) -> None:
    """Such a decision is local; three within a second and nobody asks any more."""
    server.answer = lambda _: f"-{error} because\r\n".encode()
    sink = Sink()
    for i in range(3):
        batch.submit(command("EVALSHA", "sha"), sink, i)
    await eventually(lambda: batch.open, 2, "open")
    assert [reply for _, reply in sink.got] == [LOST] * 3
    assert not batch.submit(command("GET", "x"), sink, "refused")


async def test_readonly_reconnects(server: Server, batch: RedisBatch) -> None:
    """After a failover the old primary is left."""
    server.answer = lambda _: b"-READONLY You can't write against a read only replica.\r\n"
    connection, sink = batch.connection, Sink()
    batch.submit(command("EVALSHA", "sha"), sink, 1)
    await eventually(lambda: batch.connection not in (None, connection), 2, "a new connection")
    assert sink.got == [(1, LOST)]


async def test_nobody_waits_beyond_the_timeout(server: Server, batch: RedisBatch) -> None:
    """A late reply is dropped and the next command gets its own reply."""
    loop, sink, at = asyncio.get_running_loop(), Sink(), []
    server.answer = lambda parts: None if parts[1] == b"slow" else b":7\r\n"
    started = loop.time()
    batch.submit(command("GET", "slow"), lambda *_: at.append(loop.time() - started), None)
    await eventually(lambda: at, 2, "told")
    assert 0.019 <= at[0] <= 0.2
    server.writers[-1].write(b":666\r\n")
    batch.submit(command("GET", "quick"), sink, "q")
    await eventually(lambda: sink.got, 2, "answered")
    assert sink.got == [("q", 7)]
    assert not batch.open


async def test_a_paused_store_opens_and_closes(server: Server, batch: RedisBatch) -> None:
    """Silence opens it after three timeouts, all that wait are told; PINGs close it once they are answered."""
    states: list[bool] = []
    batch._on_state = states.append
    server.silent = True
    sink = Sink()
    for i in range(5):
        batch.submit(command("GET", "x"), sink, i)
    await eventually(lambda: batch.open, 2, "open")
    assert [reply for _, reply in sink.got] == [LOST] * 5
    server.hang_up()
    server.silent = False
    await eventually(lambda: not batch.open, 3, "closed")
    assert states == [True, False]


async def test_a_lost_connection_tells_all_at_once(server: Server) -> None:
    """EOF: everybody waiting is told, it opens, and reconnects by itself within a second."""
    batch = RedisBatch(server.url, timeout_ms=5000, draw=lambda: 0.0)  # the end of the connection must come first
    assert await batch.start(5)
    server.answer = lambda _: None
    server.heard.clear()
    told: list[tuple[int, object, bool]] = []
    batch.submit(command("GET", "x"), lambda ticket, reply: told.append((ticket, reply, batch.open)), 1)
    await eventually(lambda: server.heard, 2, "sent")
    server.hang_up()
    await eventually(lambda: told == [(1, LOST, True)], 2, "told, while it counts as away")
    await eventually(lambda: not batch.open, 3, "back")
    batch.close()


async def test_loss_is_seen_without_traffic(server: Server, batch: RedisBatch) -> None:
    """After 50 ms of silence a PING: a store that stops answering is found out before the next request."""
    server.silent = True
    assert await eventually(lambda: batch.open, 2, "open")


async def _hears(server: Server, batch: RedisBatch, rubbish: bytes) -> None:
    server.answer = lambda _: rubbish
    connection, sink = batch.connection, Sink()
    batch.submit(command("GET", "x"), sink, 1)
    await eventually(lambda: batch.connection not in (None, connection), 3, "a new connection")
    assert len(sink.got) == 1


async def test_rubbish_closes(server: Server, batch: RedisBatch) -> None:
    """Bytes that are no RESP, an oversized reply, a reply to nothing: the connection ends, the sink is told."""
    for rubbish in (b"?what\r\n", b"$100000\r\n" + b"x" * 70_000, b":1\r\n:2\r\n"):
        await _hears(server, batch, rubbish)
        batch._breaker._closed_at = float("-inf")  # else it would have to be steady for 5 s
        assert await eventually(lambda: not batch.open, 3, "back")


async def test_out_of_step_closes(server: Server, batch: RedisBatch) -> None:
    """A push, arrays deeper than any of ours, a sink that cannot read its reply: nobody gets another one's."""
    for rubbish in (b">1\r\n+x\r\n:1\r\n", b"*1\r\n" * 5 + b":1\r\n"):
        await _hears(server, batch, rubbish)
        batch._breaker._closed_at = float("-inf")
        assert await eventually(lambda: not batch.open, 3, "back")
    server.answer = lambda _: b":1\r\n"
    connection, sink = batch.connection, Sink()
    batch.submit(command("GET", "x"), lambda *_: batch.distrust(), 0)
    batch.submit(command("GET", "x"), sink, 1)
    await eventually(lambda: batch.connection not in (None, connection), 3, "a new connection")
    assert sink.got == [(1, LOST)]


async def test_another_answer_to_ping_closes(server: Server, batch: RedisBatch) -> None:
    """What answers PING with a value answers somebody else's question."""
    server.pong, connection = b":1\r\n", batch.connection
    await eventually(lambda: batch.connection not in (None, connection), 3, "a new connection")


async def test_a_reply_that_never_comes(server: Server, batch: RedisBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would make every later reply look like the late one: the connection is left."""
    monkeypatch.setattr("services.runtime.redis_batch.DEAD_S", 0.1)
    server.answer = lambda _: None
    connection, sink = batch.connection, Sink()
    batch.submit(command("GET", "x"), sink, 1)
    await eventually(lambda: batch.connection not in (None, connection), 3, "a new connection")
    assert sink.got == [(1, LOST)]


async def test_sent_again_is_still_due_when_it_was(server: Server) -> None:
    """A command that met NOSCRIPT waits no longer for that, although it stands behind younger ones."""
    batch = RedisBatch(server.url, scripts=[SCRIPT], timeout_ms=200, draw=lambda: 0.0)
    assert await batch.start(5)
    loop, at = asyncio.get_running_loop(), []
    server.answer = lambda parts: b"-NOSCRIPT No\r\n" if parts[0] == b"EVALSHA" and LOAD not in server.heard else None
    server.heard.clear()
    started = loop.time()
    batch.submit(command("EVALSHA", "sha"), lambda *_: at.append(loop.time() - started), None)
    await eventually(lambda: loop.time() >= started + 0.15, 2, "it is nearly due")
    batch.submit(command("GET", "younger"), Sink(), None)
    await eventually(lambda: at, 2, "told")
    assert 0.19 <= at[0] <= 0.3
    batch.close()


async def test_a_failing_sink_harms_nobody_else(server: Server, batch: RedisBatch) -> None:
    """The replies behind it belong to others."""

    def fails(*_: object) -> None:
        raise RuntimeError("a fault of its own")

    sink = Sink()
    batch.submit(command("GET", "x"), fails, 0)
    batch.submit(command("GET", "x"), sink, 1)
    await eventually(lambda: sink.got, 2, "answered")
    assert sink.got == [(1, "OK")] or sink.got == [(1, b"OK")]


async def test_the_queue_is_bounded(server: Server, batch: RedisBatch) -> None:
    """Beyond 10 000 waiting, and while writing is paused, nothing is queued."""
    server.answer = lambda _: None
    data, sink = command("GET", "x"), Sink()
    batch.paused = True
    assert not batch.submit(data, sink, 0)
    batch.paused = False
    taken = sum(batch.submit(data, sink, i) for i in range(QUEUE_MAX + 10))
    assert QUEUE_MAX - 1 <= taken <= QUEUE_MAX


async def test_no_server_at_start() -> None:
    """It starts open, tries on, and is there once the server is."""
    with tempfile.TemporaryDirectory(prefix="batch-", dir="/tmp") as folder:
        server = Server(f"{folder}/s")
        batch = RedisBatch(server.url, scripts=[SCRIPT])
        assert not await batch.start(0.1)
        assert not batch.submit(command("GET", "x"), Sink(), 0)
        await server.start()
        await eventually(lambda: not batch.open, 2, "there")
        batch.close()
        await server.stop()


async def test_close_is_quiet(server: Server, batch: RedisBatch) -> None:
    """After close nothing is queued, and those waiting are told."""
    server.answer = lambda _: None
    sink = Sink()
    batch.submit(command("GET", "x"), sink, 1)
    batch.close()
    assert sink.got == [(1, LOST)]
    assert not batch.submit(command("GET", "x"), sink, 2)


def test_it_speaks_over_uvloop() -> None:
    """The processes run on uvloop, whose transports are no subclasses of asyncio's."""

    async def session(path: str) -> list[object]:
        server = Server(path)
        await server.start()
        batch, sink = RedisBatch(server.url, scripts=[SCRIPT]), Sink()
        assert await batch.start(5)
        batch.submit(command("GET", "x"), sink, 1)
        await eventually(lambda: sink.got, 2, "answered")
        batch.close()
        await server.stop()
        await asyncio.sleep(0.01)  # uvloop closes its handles on later ticks
        return [reply for _, reply in sink.got]

    with tempfile.TemporaryDirectory(prefix="batch-", dir="/tmp") as folder:
        assert uvloop.run(session(f"{folder}/s")) in (["OK"], [b"OK"])
