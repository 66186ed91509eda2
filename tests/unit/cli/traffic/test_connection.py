"""The load generator's connection, against a server that answers what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from services.cli.traffic.connection import Connection, Reply, request


@asynccontextmanager
async def serving(answer: bytes, *, close: bool) -> AsyncIterator[Callable[[], Awaitable[Connection]]]:
    """Answers each read with `answer`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(4096):
                writer.write(answer)
                await writer.drain()
                if close:
                    break
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opened: list[Connection] = []

    async def open_one() -> Connection:
        opened.append(await Connection.open("127.0.0.1", port))
        return opened[-1]

    async with server:
        yield open_one
        for connection in opened:
            connection.close()
        await asyncio.sleep(0.01)


async def test_a_whole_answer() -> None:
    """Status, fields and body; the connection serves the next request."""
    async with serving(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nok", close=False) as open_one:
        connection = await open_one()
        for _ in range(2):
            reply = await connection.send(request("GET", "/"))
            assert (reply.status, reply.headers["x-a"], reply.body) == (200, "1, 2", b"ok")
        assert not connection.closed


async def test_a_cut_answer_is_a_failure() -> None:
    """Less body than announced, then the end: ConnectionError, never a short answer."""
    async with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", close=True) as open_one:
        with pytest.raises(ConnectionError, match="before the whole answer"):
            await (await open_one()).send(request("GET", "/"))


async def test_interim_answers_are_passed_over() -> None:
    """103 is not the answer; Connection: close ends the connection after it."""
    data = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    async with serving(data, close=False) as open_one:
        connection = await open_one()
        assert (await connection.send(request("GET", "/"))).status == 204
        assert connection.closed
        with pytest.raises(ConnectionError, match="closed before"):
            await connection.send(request("GET", "/"))


async def test_what_is_no_http_fails() -> None:
    """Garbage is an error, not a hang."""
    async with serving(b"hello\r\n\r\n", close=False) as open_one:
        with pytest.raises(ConnectionError, match="not HTTP"):
            await (await open_one()).send(request("GET", "/"))


async def test_a_silent_server_is_given_up() -> None:
    """No answer within the time given: ConnectionError, and the connection is not used again."""
    async with serving(b"", close=False) as open_one:
        connection = await open_one()
        with pytest.raises(ConnectionError, match="no answer"):
            await connection.send(request("GET", "/"), timeout_s=0.05)
        assert connection.closed


def test_request_bytes() -> None:
    """Host and Content-Length are added where they are missing, names are lower case."""
    data = request("POST", "/x", {"X-API-Key": "k"}, b"{}")
    assert data == b"POST /x HTTP/1.1\r\nhost: test\r\nx-api-key: k\r\ncontent-length: 2\r\n\r\n{}"
    assert Reply().status == 0
