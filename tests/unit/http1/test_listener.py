"""The listening socket: start, counts, drain, close, with real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.core.verdicts import PARKED, Answer, Outcome
from services.http1 import runner
from services.http1.exchange import Exchange
from services.http1.limits import Deadlines, Limits
from services.http1.listener import TURNED_AWAY_MAX, HttpServer
from services.http1.problems import ProblemWriter
from services.http1.runner import Pipeline
from services.http1.server import ServerConnection
from tests.harness.wait import eventually
from tests.unit.http1.rig import Wire

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
    """One more than `max_connections` is told to come back, with all a problem document has, and closed; while many are being told the
    rest is closed at once.
    """
    async with serving(Limits(max_connections=1)) as (server, port):
        _, first = await connect(port)
        await eventually(lambda: server.connections == 1, 2, "the first is in")
        reader, second = await connect(port)
        second.write(GET)
        told = await reader.read()
        head, _, body = told.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert {b"Connection: close", b"Retry-After: 1"} <= set(head.split(b"\r\n"))
        assert b"\r\nDate: " in head
        assert b"error=connection_limit_reached" in head
        assert {"status": 503, "reason": "connections", "retryAfter": 1}.items() <= json.loads(body).items()
        assert server.refused_connections == 1
        more = [await connect(port) for _ in range(TURNED_AWAY_MAX + 10)]
        bare = sum([await ended(reader) == b"" for reader, _ in more])
        assert 1 <= bare <= 11
        for writer in (first, second, *(writer for _, writer in more)):
            writer.close()
        await eventually(lambda: server.connections == 0, 3, "all are gone")


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes; a reset is an end."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_crowded_servers_let_the_oldest_idle_ones_go() -> None:
    """Above nine tenths of `max_connections` those go that have been idle for longest; who is being served stays."""
    async with serving(Limits(max_connections=10)) as (server, port):
        busy, busy_writer = await connect(port)
        busy_writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: server.in_flight == 1, 2, "one is under way")
        idle = [await connect(port) for _ in range(8)]
        await eventually(lambda: server.crowded, 2, "it is crowded")
        assert server.connections == 9
        young = await connect(port)
        assert await idle[0][0].read() == b""
        await eventually(lambda: server.connections == 9, 2, "only the oldest has gone")
        for reader, _ in (*idle[1:], young):
            assert not reader.at_eof()
        runner.resume(*PARKED_ONES[0], Answer(200, (), b"late"))
        assert (await busy.readuntil(b"late")).startswith(b"HTTP/1.1 200")
        for _, writer in (*idle, young):
            writer.close()
        await eventually(lambda: not server.crowded, 2, "there is room again")
        busy_writer.close()


@pytest.mark.parametrize("near", ["203.0.113.9", "2001:db8::2"])
async def test_one_peer_s_share(near: str) -> None:
    """A peer that is not trusted has so many connections; another /64, another address, a trusted one and this machine are not concerned."""
    limits = Limits(max_connections_per_ip=2)
    first = "203.0.113.9" if "." in near else "2001:db8::1"
    server = HttpServer(
        Pipeline((stage,)),
        limits,
        Deadlines(),
        ProblemWriter("gateway", "t"),
        b"gateway-t",
        trusts=lambda address: address == "198.51.100.1",
    )

    def connected(address: str) -> tuple[ServerConnection, Wire]:
        connection, wire = ServerConnection(server, (address, 5000)), Wire()
        wire.protocol = connection
        connection.connection_made(wire)  # type: ignore[arg-type]
        return connection, wire

    held = [connected(address) for address in (first, near)]
    assert not any(wire.out for _, wire in held)
    assert connected(near)[1].out.startswith(b"HTTP/1.1 503 ")
    for address in ("203.0.113.10", "2001:db8:0:1::1", *["198.51.100.1"] * 5, *["127.0.0.1"] * 5, *["::1"] * 5):
        assert connected(address)[1].out == b""
    held[0][1].lose()
    assert connected(near)[1].out == b""
    assert connected(near)[1].eof


async def test_taken_port() -> None:
    """OSError, for the app to say in one line."""
    async with serving() as (_, port):
        other = HttpServer(Pipeline((stage,)), Limits(), Deadlines(), ProblemWriter("gateway", "t"), b"gateway-t")
        with pytest.raises(OSError):
            await other.start("127.0.0.1", port)
        await other.close(0)
