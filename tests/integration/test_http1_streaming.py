"""Long bodies through the engine as a process: bounded memory, backpressure both ways, never a short answer that looks whole."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.integration.proxied import Proxy, proxy, serving

MIB = 1 << 20
BLOCK = bytes(range(256)) * 256  # 64 KiB
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GROWTH_MAX_KIB = 16 * 1024


async def stream(writer: asyncio.StreamWriter, size: int, *, chunked: bool) -> None:
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
    for _ in range(size // len(BLOCK)):
        writer.write(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK)
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


def streamer(size: int, *, chunked: bool):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await stream(writer, size, chunked=chunked)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return serve


async def read_sized(reader: asyncio.StreamReader, size: int, running: Proxy, pause_s: float = 0.0) -> tuple[str, int]:
    """Digest of the body, and the most KiB the proxy held meanwhile."""
    digest, most, left = hashlib.sha256(), 0, size
    while left:
        data = await reader.read(min(left, MIB))
        assert data, "cut"
        digest.update(data)
        left -= len(data)
        most = max(most, running.rss_kib())
        if pause_s:
            await asyncio.sleep(pause_s)
    return digest.hexdigest(), most


@pytest.mark.parametrize("chunked", [False, True])
async def test_100_mib_in_bounded_memory(chunked: bool) -> None:
    """A response of 100 MiB streams through; the proxy grows by a few MiB at most; every byte arrives."""
    size = 100 * MIB
    wanted = hashlib.sha256(BLOCK * (size // len(BLOCK))).hexdigest()
    async with serving(streamer(size, chunked=chunked)) as upstream, proxy(upstream) as running:
        before = running.rss_kib()
        reader, writer = await running.connect()
        writer.write(GET)
        head = await reader.readuntil(b"\r\n\r\n")
        if chunked:
            digest, most = hashlib.sha256(), 0
            while length := int(await reader.readuntil(b"\r\n"), 16):
                digest.update((await reader.readexactly(length + 2))[:-2])
                most = max(most, running.rss_kib())
            found = digest.hexdigest()
        else:
            assert b"Content-Length: %d\r\n" % size in head
            found, most = await read_sized(reader, size, running)
        assert found == wanted
        assert most - before < GROWTH_MAX_KIB
        writer.close()


async def test_slow_reader_holds_the_upstream_back() -> None:
    """A client that reads slowly makes the proxy wait, not buffer."""
    size = 24 * MIB
    async with serving(streamer(size, chunked=False)) as upstream, proxy(upstream) as running:
        before = running.rss_kib()
        reader, writer = await running.connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5)
        assert running.rss_kib() - before < GROWTH_MAX_KIB
        _, most = await read_sized(reader, size, running, 0.005)
        assert most - before < GROWTH_MAX_KIB
        writer.close()


async def test_upload_to_a_slow_upstream() -> None:
    """An upload of 9 MiB to an upstream that reads late arrives whole; the proxy does not hold it."""
    size = 9 * MIB
    taken = hashlib.sha256()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        left = size
        while left:
            data = await reader.read(min(left, 65536))
            taken.update(data)
            left -= len(data)
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    async with serving(serve) as upstream, proxy(upstream) as running:
        before = running.rss_kib()
        reader, writer = await running.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(BLOCK)):
            writer.write(BLOCK)
            await writer.drain()
        most = running.rss_kib()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
        assert most - before < GROWTH_MAX_KIB
        assert taken.hexdigest() == hashlib.sha256(BLOCK * (size // len(BLOCK))).hexdigest()
        writer.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_truncated_answers_are_resets(version: bytes) -> None:
    """An upstream that dies inside its body: the client gets a reset or a chunked body without its end, on HTTP/1.0 a reset too."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()

    async with serving(serve) as upstream, proxy(upstream) as running:
        reader, writer = await running.connect()
        writer.write(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version)
        await reader.readuntil(b"hello")
        with pytest.raises(ConnectionResetError):
            assert await reader.read() == b"a reset"
        writer.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_100_mib_up_in_bounded_memory(chunked: bool) -> None:
    """The other way round: a body of 100 MiB streams to the upstream, every byte arrives, the proxy grows by a few MiB at most."""
    size = 100 * MIB
    taken, left = hashlib.sha256(), [size]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        while left[0]:
            if chunked:
                length = int(await reader.readuntil(b"\r\n"), 16)
                data = (await reader.readexactly(length + 2))[:-2]
            else:
                data = await reader.read(MIB)
            taken.update(data)
            left[0] -= len(data)
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()

    async with serving(serve) as upstream, proxy(upstream, body_max=200 * MIB) as running:
        before = most = running.rss_kib()
        reader, writer = await running.connect()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing)
        for _ in range(size // len(BLOCK)):
            writer.write(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK)
            await writer.drain()
            most = max(most, running.rss_kib())
        writer.write(b"0\r\n\r\n" if chunked else b"")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
        assert taken.hexdigest() == hashlib.sha256(BLOCK * (size // len(BLOCK))).hexdigest()
        assert most - before < GROWTH_MAX_KIB
        writer.close()


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_events_pass_as_they_come(version: bytes) -> None:
    """Server-sent events are not kept back: each is sent only when the client has the one before, chunked to HTTP/1.1, by close to 1.0."""
    heard = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(20):
            writer.write(b"data: %d\n\n" % number)
            await heard.wait()
            heard.clear()
        writer.close()

    async with serving(serve) as upstream, proxy(upstream) as running:
        reader, writer = await running.connect()
        writer.write(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version)
        head = await reader.readuntil(b"\r\n\r\n")
        assert (b"Transfer-Encoding: chunked" in head) is (version == b"1.1")
        for number in range(20):
            await asyncio.wait_for(reader.readuntil(b"data: %d\n\n" % number), 5)
            heard.set()
        assert (await reader.readuntil(b"0\r\n\r\n")) if version == b"1.1" else (await reader.read() == b"")
        writer.close()
