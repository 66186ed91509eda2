"""The control ports over HTTP: what comes in time, what is refused, what is not asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.controller.backend import Pod
from services.controller.pods import HttpControlPorts
from services.schema.tiers import BUILT_IN, render

SNAPSHOT = {
    **dict.fromkeys(("component", "instance", "version", "startedAt", "at"), "x"),
    **dict.fromkeys(("seq", "inFlight", "requests", "rps", "errorRate", "loopLagMs", "cpu", "rssBytes", "tasks"), 1),
    "ready": True,
    "draining": False,
    "latency": {},
}


@asynccontextmanager
async def server(answer: Callable[[str, str], tuple[int, object]]) -> AsyncIterator[tuple[Pod, list[str]]]:
    """A control port that answers `answer(method and path, headers and body)`; what it was asked."""
    asked: list[str] = []
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())  # type: ignore[arg-type]  # a callback of start_server runs in a task
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((int(x.split(":")[1]) for x in head.splitlines() if x.startswith("content-length")), 0)
        whole = head + (await reader.readexactly(length)).decode()
        asked.append(whole)
        status, value = answer(whole.split(" http")[0], whole)
        data = json.dumps(value).encode()
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n".encode() + data)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield Pod("u", "api-1", "Running", control_url=f"http://127.0.0.1:{port}"), asked
    finally:
        listener.close()
        await asyncio.gather(*serving)  # an unclosed connection would be blamed on whichever test runs later


GONE = Pod("gone", "api-2", "Running", control_url="http://127.0.0.1:1")
SILENT = Pod("silent", "api-3", "Running")


async def test_poll_takes_what_comes():
    """A dead one is no answer, one without a port is not asked; 401 is noticed."""
    ports = HttpControlPorts()
    async with server(lambda *_: (200, SNAPSHOT)) as (pod, asked):
        found = await ports.poll([pod, GONE, SILENT], "the-token")
    assert (set(found.snapshots), found.unauthorized) == ({"u"}, False)
    assert "authorization: bearer the-token" in asked[0]
    async with server(lambda *_: (401, {})) as (pod, _):
        assert (await ports.poll([pod], "t")).unauthorized
    await ports.close()


async def test_push_and_drain_carry_the_epoch():
    """200 with the hash, 422 with its errors, nothing as 0; drain tells who agreed."""
    ports = HttpControlPorts()
    async with server(lambda *_: (200, {"revision": 0, "hash": BUILT_IN.hash})) as (pod, asked):
        answers = await ports.push([pod, GONE], "t", 7, render(BUILT_IN))
    assert (answers["u"].status, answers["u"].hash, answers["gone"].status) == (200, BUILT_IN.hash, 0)
    assert "x-controller-epoch: 7" in asked[0]
    async with server(lambda *_: (422, {"errors": ["spec: no"]})) as (pod, _):
        answer = (await ports.push([pod], "t", 7, b""))["u"]
    assert (answer.status, answer.errors) == (422, ("spec: no",))
    async with server(lambda *_: (200, {"draining": True, "inFlight": 0})) as (pod, asked):
        assert await ports.drain([pod, GONE], "t", 7, on=True) == {"u"}
        assert await ports.drain([pod], "t", 7, on=False) == frozenset()
    assert '{"on":true,"timeoutSeconds":120}' in asked[0]
    await ports.close()
