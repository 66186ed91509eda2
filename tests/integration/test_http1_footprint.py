"""What requests and idle connections leave behind: no cyclic garbage, few KiB each, no open upstreams."""

from __future__ import annotations

import asyncio
import gc
import socket

from services.core.verdicts import PARKED, Outcome, Refusal
from services.http1 import heads
from services.http1.exchange import Exchange
from services.http1.limits import Deadlines, Limits
from services.http1.listener import HttpServer
from services.http1.pool import Pool
from services.http1.problems import ProblemWriter
from services.http1.runner import Pipeline
from tests.integration.proxied import Recorder, recorded, serving

IDLE = 1500
IDLE_MAX_KIB = 8
REQUESTS = 10_000


async def test_ten_thousand_requests_make_no_cyclic_garbage() -> None:
    """Served, posted and refused ones: what an exchange needed goes with it, the collector finds nothing."""
    recorder = Recorder()
    async with serving(recorder.serve) as upstream:
        pool = Pool("127.0.0.1", upstream, Limits(), Deadlines())

        def forward(x: Exchange) -> Outcome:
            if x.path == b"/no":
                return Refusal("not-found", "no")
            pool.start(x, heads.request_head(x))
            return PARKED

        server = HttpServer(Pipeline((forward,)), Limits(), Deadlines(), ProblemWriter("t", "1"), b"t-1")
        port = await server.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def rounds(count: int) -> None:
            for _ in range(count):
                writer.write(
                    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                )
                await reader.readuntil(b"ok")
                await reader.readuntil(b"ok")
                writer.write(b"GET /no HTTP/1.1\r\nHost: a\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n")
                await reader.readuntil(b"ok")

        await rounds(50)
        gc.collect()
        gc.disable()
        try:
            await rounds(REQUESTS // 4)
            recorder.raw.clear()
            assert gc.collect() < 20  # the test's own streams; a cycle per request would be thousands
        finally:
            gc.enable()
        writer.close()
        await server.close(0)
        pool.close()
        await asyncio.sleep(0.05)


async def test_idle_connections_are_small() -> None:
    """A connection that has been answered once and waits holds at most 8 KiB resident."""
    async with recorded() as (proxy, _):

        def opened(count: int) -> list[socket.socket]:
            found = []
            for _ in range(count):
                sock = socket.create_connection(("127.0.0.1", proxy.port), 5)
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n")
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
                found.append(sock)
            return found

        warm = await asyncio.to_thread(opened, 200)
        before = proxy.rss_kib()
        held = await asyncio.to_thread(opened, IDLE)
        each = (proxy.rss_kib() - before) / IDLE
        for sock in (*warm, *held):
            sock.close()
        assert each <= IDLE_MAX_KIB
