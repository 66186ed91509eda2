"""One GET for a health check: what came, or why nothing did; never an exception."""

from __future__ import annotations

import asyncio

import pytest

from services.http1.probe import probe


async def answered(reply: bytes, timeout_s: float = 1.0) -> tuple[int, str, bytes, dict[bytes, bytes], bytes]:
    asked = b""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        if not reply:
            await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    found = await probe("127.0.0.1", server.sockets[0].getsockname()[1], b"/ready", timeout_s)
    server.close()
    await ended.wait()
    await asyncio.sleep(0)
    return found.status, found.failure, found.body, found.special, asked


async def test_answer() -> None:
    """Status, fields and body; it asks for the path and closes."""
    status, failure, body, special, asked = await answered(
        b"HTTP/1.1 503 X\r\nX-Api-Load: 7\r\nContent-Length: 2\r\n\r\nno"
    )
    assert (status, failure, body, special[b"x-api-load"]) == (503, "", b"no", b"7")
    assert asked.startswith(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Connection: close\r\n" in asked


@pytest.mark.parametrize("reply", [b"hello", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200"])
async def test_invalid(reply: bytes) -> None:
    """Nothing llhttp can read, or not all of it."""
    assert (await answered(reply))[:2] == (0, "invalid")


async def test_timeout() -> None:
    """Silence ends with the time."""
    assert (await answered(b"", 0.05))[:2] == (0, "timeout")


async def test_nobody_listens() -> None:
    """A refused connect is said as such."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    assert (await probe("127.0.0.1", port, b"/", 1.0)).failure == "connect_failed"
