"""The listening socket: start, counts, drain, close, with real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.core.verdicts import PARKED, Answer, Outcome
from services.http1 import runner
from services.http1.exchange import Exchange
from services.http1.limits import Deadlines, Limits
from services.http1.listener import HttpServer
from services.http1.problems import ProblemWriter
from services.http1.runner import Pipeline
from tests.harness.wait import eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PARKED_ONES: list[tuple[Exchange, int]] = []


def stage(x: Exchange) -> Outcome:
    if x.path == b"/slow":
        PARKED_ONES.append((x, x.ticket))
        return PARKED
    return Answer(200, (), b"hi")


@asynccontextmanager
async def serving(limits: Limits | None = None) -> AsyncIterator[tuple[HttpServer, int]]:
    PARKED_ONES.clear()
    server = HttpServer(
        Pipeline((stage,)), limits or Limits(), Deadlines(), ProblemWriter("gateway", "t"), b"gateway-t"
    )
    port = await server.start("127.0.0.1", 0)
    yield server, port
    await server.close(0)


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def test_serves_and_counts() -> None:
    """A free port, answers, connections by state."""
    async with serving() as (server, port):
        reader, writer = await connect(port)
        writer.write(GET)
        assert (await reader.readuntil(b"hi")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert server.connections == 1
        assert server.connection_states()["idle"] == 1
        assert server.in_flight == 0
        writer.close()
        await eventually(lambda: server.connections == 0, 2, "it is gone")


async def test_drain_then_close() -> None:
    """While draining, answers close; `close` ends idle connections, waits for what is under way, and refuses new ones."""
    async with serving() as (server, port):
        idle, idle_writer = await connect(port)
        busy, writer = await connect(port)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: server.in_flight == 1, 2, "one is under way")
        server.drain(on=True)
        closing = asyncio.ensure_future(server.close(5))
        assert await idle.read() == b""
        with pytest.raises(OSError):
            await connect(port)
        runner.resume(*PARKED_ONES[0], Answer(200, (), b"late"))
        answer = await busy.read()
        assert answer.endswith(b"late")
        assert b"Connection: close\r\n" in answer
        writer.close()
        await asyncio.wait_for(closing, 2)
        assert server.connections == 0
        idle_writer.close()


async def test_close_aborts_what_does_not_finish() -> None:
    """The time over, the rest is cut off and finished."""
    async with serving() as (server, port):
        reader, writer = await connect(port)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: server.in_flight == 1, 2, "one is under way")
        await server.close(0.05)
        assert await reader.read() == b""
        await eventually(lambda: server.connections == 0, 2, "nothing is left")
        writer.close()


async def test_drain_can_end() -> None:
    """Drain off: connections stay open again."""
    async with serving() as (server, port):
        reader, writer = await connect(port)
        writer.write(GET)
        await reader.readuntil(b"hi")
        server.drain(on=True)
        server.drain(on=False)
        writer.write(GET)
        assert b"Connection: close" not in await reader.readuntil(b"hi")
        writer.close()


async def test_connections_are_bounded() -> None:
    """One more than max_connections is closed at once."""
    async with serving(Limits(max_connections=1)) as (server, port):
        _, first = await connect(port)
        await eventually(lambda: server.connections == 1, 2, "the first is in")
        reader, second = await connect(port)
        assert await reader.read() == b""
        assert server.refused_connections == 1
        first.close()
        second.close()


async def test_taken_port() -> None:
    """OSError, for the app to say in one line."""
    async with serving() as (_, port):
        other = HttpServer(Pipeline((stage,)), Limits(), Deadlines(), ProblemWriter("gateway", "t"), b"gateway-t")
        with pytest.raises(OSError):
            await other.start("127.0.0.1", port)
        await other.close(0)
