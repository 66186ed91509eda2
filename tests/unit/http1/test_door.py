"""What stands before HTTP, on real sockets: PROXY headers from whom we trust, TLS, both, and who is left outside."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.core.verdicts import PARKED, Answer, Outcome
from services.http1 import runner
from services.http1.certificate import Certificate
from services.http1.exchange import Exchange
from services.http1.limits import Deadlines, Limits
from services.http1.listener import HttpServer
from services.http1.problems import ProblemWriter
from services.http1.runner import Pipeline
from tests.harness.wait import eventually
from tests.unit.http1 import certificates

GET = b"GET /who HTTP/1.1\r\nHost: a\r\n\r\n"
HEADER = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n"
V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes((203, 0, 113, 9, 192, 0, 2, 1)) + b"\x12\x67\x01\xbb"
PARKED_ONES: list[Exchange] = []
GONE: list[Exchange] = []


def who(x: Exchange) -> Outcome:
    """Says whom the request comes from; /park never answers by itself."""
    if x.path == b"/park":
        PARKED_ONES.append(x)
        return PARKED
    return Answer(200, (), str(x.connection.peer[0]).encode())


def loopback(address: str) -> bool:
    return address.startswith("127.")


@asynccontextmanager
async def serving(
    certificate: Certificate | None = None,
    trusts: Callable[[str], bool] | None = None,
    limits: Limits | None = None,
    **deadlines: float,
) -> AsyncIterator[tuple[HttpServer, int]]:
    PARKED_ONES.clear()
    GONE.clear()
    server = HttpServer(
        Pipeline((who,), on_finish=(GONE.append,)),
        limits or Limits(),
        Deadlines(**deadlines),  # type: ignore[arg-type]
        ProblemWriter("gateway", "t"),
        b"gateway-t",
        certificate=certificate,
        trusts=trusts,
        proxy_protocol=trusts is not None,
    )
    port = await server.start("127.0.0.1", 0)
    try:
        yield server, port
    finally:
        await server.close(0)


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The body of one answer with a length, or b"" if there is none."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(int(length.split(b":")[1]))


async def ask(port: int, *parts: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)
    try:
        return await answer(reader)
    finally:
        writer.close()


@pytest.mark.parametrize("header", [HEADER, V2], ids=["1", "2"])
async def test_the_named_client(header: bytes) -> None:
    """Version 1 and 2, in one packet with the request, by themselves, and byte by byte."""
    async with serving(trusts=loopback) as (server, port):
        assert await ask(port, header + GET) == b"203.0.113.9"
        assert await ask(port, header, GET) == b"203.0.113.9"
        assert await ask(port, *(bytes((byte,)) for byte in header + GET)) == b"203.0.113.9"
        assert server.bad_requests == {}


async def test_a_proxy_s_own_connection() -> None:
    """A health check of the proxy is its own."""
    async with serving(trusts=loopback) as (_, port):
        assert await ask(port, b"PROXY UNKNOWN\r\n" + GET) == b"127.0.0.1"


@pytest.mark.parametrize("start", [GET, HEADER.replace(b"TCP4", b"TCP9") + GET, b"PROXY " + b"1" * 200, b"PROXY TCP4 "])
async def test_a_trusted_peer_without_a_header_is_closed(start: bytes) -> None:
    """No header, a malformed, an endless, half a one: closed without a word, nothing is served."""
    async with serving(trusts=loopback, head_s=0.3) as (server, port):
        assert await ask(port, start) == b""
        await eventually(lambda: server.bad_requests == {"proxy-header": 1}, 2, "it is counted")
        assert server.connections == 0


async def test_nobody_else_is_believed() -> None:
    """From a peer that is not trusted there is no header: it is a malformed request, and without one all is as ever."""
    async with serving(trusts=lambda _: False) as (_, port):
        assert await ask(port, GET) == b"127.0.0.1"
        assert b'"status":400' in await ask(port, HEADER + GET)


async def test_tls(tmp_path: Path) -> None:
    """1.2 and newer, HTTP/1.1 by ALPN; an older client and one that speaks no TLS get nothing."""
    async with serving(Certificate(*certificates.write(tmp_path))) as (server, port):
        context = certificates.client()
        context.set_alpn_protocols(["h2", "http/1.1"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        spoken: ssl.SSLObject = writer.get_extra_info("ssl_object")
        assert (spoken.selected_alpn_protocol(), spoken.version()) == ("http/1.1", "TLSv1.3")
        for _ in range(3):
            writer.write(GET)
            assert await answer(reader) == b"127.0.0.1"
        writer.close()
        old = certificates.client()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await ask(port, GET, tls=old) == b"127.0.0.1"
        assert await ask(port, GET) == b""
        await eventually(lambda: server.bad_requests == {"tls": 1}, 2, "it is counted")


async def test_a_header_before_tls(tmp_path: Path) -> None:
    """A load balancer that passes TLS through says for whom, in clear, in front of the handshake, in the same packet too."""
    async with serving(Certificate(*certificates.write(tmp_path)), loopback) as (_, port):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = certificates.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEADER)
        plain = b""
        asked = False
        while b"203.0.113.9" not in plain:
            try:
                tls.do_handshake()
                if not asked:
                    tls.write(GET)
                    asked = True
                plain += tls.read(4096)
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await asyncio.wait_for(reader.read(65536), 5))
        writer.close()


async def test_tls_connections_have_no_half_close(tmp_path: Path) -> None:
    """Who ends his side of TLS is gone: what runs for him is cancelled, the connection closed."""
    async with serving(Certificate(*certificates.write(tmp_path))) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=certificates.client())
        writer.write(GET.replace(b"/who", b"/park"))
        await eventually(lambda: len(PARKED_ONES) == 1, 2, "it is under way")
        writer.close()
        await eventually(lambda: len(GONE) == 1, 2, "it is cancelled")
        assert GONE[0].reason == "client-gone"
        await eventually(lambda: server.connections == 0, 2, "it is closed")
        assert server.client_aborts == 1


async def test_a_refusal_over_tls_arrives_whole(tmp_path: Path) -> None:
    """The last answer of a connection is followed by TLS's own end, though the client is still sending."""
    async with serving(Certificate(*certificates.write(tmp_path)), limits=Limits(body_max=10)) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=certificates.client())
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 100_000)
        whole = await asyncio.wait_for(reader.read(), 5)
        assert whole.startswith(b"HTTP/1.1 413 ")
        assert whole.endswith(b"}")
        writer.close()


async def test_new_certificates_lose_no_connection(tmp_path: Path) -> None:
    """Who is connected goes on, who comes gets the new one, with and without a server name."""
    certificate = Certificate(*certificates.write(tmp_path))
    async with serving(certificate) as (_, port):

        async def connected(name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, object]:
            context = certificates.client()
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
            return reader, writer, writer.get_extra_info("peercert")["serialNumber"]

        reader, writer, before = await connected("localhost")
        certificates.write(tmp_path)
        certificate.refresh()
        for name in ("localhost", "127.0.0.1"):
            _, other, after = await connected(name)
            assert after != before
            other.close()
        writer.write(GET)
        assert await answer(reader) == b"127.0.0.1"
        writer.close()


async def test_handshakes_have_a_deadline_and_count(tmp_path: Path) -> None:
    """Who never shakes hands is closed after `head_s`; meanwhile he takes one of `max_connections`."""
    one = Limits(max_connections=1)
    async with serving(Certificate(*certificates.write(tmp_path)), limits=one, head_s=0.5) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        other, other_writer = await asyncio.open_connection("127.0.0.1", port)
        assert await other.read() == b""
        assert server.refused_connections == 1
        assert await asyncio.wait_for(reader.read(), 3) == b""
        for each in (writer, other_writer):
            each.close()


async def test_the_last_ones_in(tmp_path: Path) -> None:
    """A close lets in who waits at the door and answers; who has not come through by its end is left outside."""
    async with serving(Certificate(*certificates.write(tmp_path))) as (server, port):
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=certificates.client())
        writer.write(GET.replace(b"/who", b"/park"))
        await eventually(lambda: len(PARKED_ONES) == 1, 2, "it is under way")
        closing = asyncio.ensure_future(server.close(0.5))
        await asyncio.sleep(0)
        runner.resume(PARKED_ONES[0], PARKED_ONES[0].ticket, Answer(200, (), b"late"))
        assert await answer(reader) == b"late"
        await closing
        assert await silent.read() == b""
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        for each in (writer, silent_writer):
            each.close()


async def test_a_taken_port() -> None:
    """As with a plain listener: OSError."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        async with serving(trusts=loopback) as (server, _):
            with pytest.raises(OSError, match="in use"):
                await server.start("127.0.0.1", other.getsockname()[1])
