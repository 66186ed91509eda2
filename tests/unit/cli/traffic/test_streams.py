"""Streams and what they count."""

from __future__ import annotations

import asyncio
import time

import pytest

from services.cli.traffic import streams
from services.cli.traffic.connection import Reply, request
from services.cli.traffic.streams import Sender, Stream, Tally, beside


def test_a_tally_tells_refusals_from_failures() -> None:
    """429 and the breaker's 503 are answers; no answer and other 5xx are failures."""
    tally = Tally()
    tally.add(Reply(200), 1)
    tally.add(Reply(429, {"retry-after": "12"}), 1)
    tally.add(Reply(429, {"retry-after": "9"}), 1)
    tally.add(Reply(503, {}, b'{"code":"CIRCUIT_OPEN"}'), 2.5)
    tally.add(Reply(502, {}, b'{"code":"EXTERNAL_ERROR"}'), 1)
    tally.add(Reply(500), 30)
    tally.add(Reply(), 1)
    assert (tally.sent, tally.ok, tally.limited, tally.failed) == (7, 1, 2, 2)
    assert (tally.retry_after, tally.open_ms, tally.slowest_ms) == ("12", [2.5], 30)


async def test_a_stream_keeps_its_rate_over_one_connection() -> None:
    """Requests are due by the clock; a quick server needs one connection."""
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while await reader.read(4096):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    sender, tally = Sender(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), Tally()
    async with server:
        started = time.monotonic()
        await sender.run([Stream(100, lambda _: request("GET", "/"))], 0.2, tally)
        sender.close()
        await asyncio.sleep(0.01)
    assert tally.statuses == {200: 20}
    assert time.monotonic() - started >= 0.18
    assert connections <= 10  # a busy machine sends late ones at once


async def test_nobody_there_is_a_failure_not_an_error() -> None:
    """A refused connection is counted; above the bound of waiting requests they are counted as unsent."""
    sender, tally = Sender("http://127.0.0.1:1"), Tally()
    await sender.run([Stream(50, lambda _: request("GET", "/"))], 0.1, tally)
    assert tally.failed == 5


async def test_too_many_waiting_are_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator does not pile up requests without bound."""
    monkeypatch.setattr(streams, "OUTSTANDING", 0)
    tally = Tally()
    await Sender("http://127.0.0.1:1").run([Stream(50, lambda _: b"")], 0.1, tally)
    assert (tally.sent, tally.unsent) == (0, 5)


async def test_beside_acts_once_in_time() -> None:
    """The act comes within the work; its failure is the caller's."""
    said: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.02)
        said.append("work")

    async def act() -> None:
        said.append("act")

    await beside(work(), act, 0.0)
    assert said == ["act", "work"]
