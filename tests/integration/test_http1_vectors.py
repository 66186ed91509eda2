"""The vectors of data-path 3.1 against the engine as a process: real sockets, real splits, an upstream that records."""

from __future__ import annotations

import asyncio
import struct
from socket import SO_LINGER, SOL_SOCKET

import httptools
import pytest

from tests.harness.wait import eventually
from tests.integration.proxied import Proxy, recorded
from tests.unit.http1.rig import Answers
from tests.unit.http1.vectors import GET, LONG, POST, VECTORS, Vector

END_S = 3.0
SETTLE_S = 0.05
# The proxy's own name is not the gateway's, so a loop is not one here.
SERVED = [vector for vector in (*VECTORS, *LONG) if vector.name != "loop"]


async def said(proxy: Proxy, parts: list[bytes], answers: int, *, closes: bool) -> tuple[list[int], bool]:
    """The statuses that come for these reads, and whether the connection ends behind them."""
    reader, writer = await proxy.connect()
    found = Answers()
    ended = False
    for part in parts:
        writer.write(part)
        await writer.drain()
        if len(parts) > 1:
            await asyncio.sleep(0)
    try:
        async with asyncio.timeout(END_S):
            while len(found.found) < answers or found.whole < answers or closes:
                data = await reader.read(65536)
                if not data:
                    ended = True
                    break
                found.parser.feed_data(data)
        if not closes:
            async with asyncio.timeout(SETTLE_S):
                ended = not await reader.read(1)
    except TimeoutError:
        pass
    except (ConnectionError, httptools.HttpParserError) as error:
        raise AssertionError(f"after {found.found}") from error
    finally:
        writer.close()
    return [status for status, _ in found.found], ended


async def test_every_vector() -> None:
    """Each has its answers and closes or does not, in one write and in two; of a refused one nothing reaches
    the upstream; one whose body goes wrong later is never completed there.
    """
    async with recorded() as (proxy, recorder):
        for vector in SERVED:
            middle = len(vector.data) // 2
            for parts in ([vector.data], [vector.data[:middle], vector.data[middle:]]):
                recorder.raw.clear()
                recorder.whole = 0
                statuses, ended = await said(proxy, parts, len(vector.answers), closes=vector.closes)
                assert (tuple(statuses), ended) == (vector.answers, vector.closes), vector.name
                assert recorder.whole == vector.forwarded, vector.name
                if not vector.forwarded and b"chunked" not in vector.data:
                    assert not recorder.raw, vector.name


@pytest.mark.parametrize("vector", [v for v in VECTORS if len(v.data) < 120][::4], ids=lambda v: v.name)
async def test_byte_by_byte(vector: Vector) -> None:
    """One byte per packet: the same outcome (D25)."""
    async with recorded() as (proxy, _):
        statuses, ended = await said(
            proxy, [bytes((b,)) for b in vector.data], len(vector.answers), closes=vector.closes
        )
        assert (tuple(statuses), ended) == (vector.answers, vector.closes)


async def test_reset_at_every_byte() -> None:
    """A reset at each byte of a request with a body: the upstream connection is aborted, the proxy serves the next one (D26)."""
    request = POST + b"Content-Length: 20\r\n\r\n" + b"x" * 20
    async with recorded() as (proxy, recorder):
        for at in range(1, len(request), 3):
            _, writer = await proxy.connect()
            writer.write(request[:at])
            await writer.drain()
            await asyncio.sleep(0.002)
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()
        statuses, _ = await said(proxy, [GET + b"\r\n"], 1, closes=False)
        assert statuses == [200]
        await eventually(lambda: recorder.open <= 2, 5, "half-sent upstream requests are gone")


async def test_half_close_is_answered() -> None:
    """FIN behind the request: it is still answered."""
    async with recorded() as (proxy, _):
        reader, writer = await proxy.connect()
        writer.write(GET + b"\r\n")
        writer.write_eof()
        assert (await asyncio.wait_for(reader.read(), END_S)).endswith(b"ok")
        writer.close()


async def test_ten_thousand_pipelined() -> None:
    """All are answered, in order, those from the upstream and those from here (D17); each reaches the upstream once."""
    star = b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"  # 204, from the proxy itself
    from_here = [number % 7 == 3 or number % 11 == 5 for number in range(10_000)]
    async with recorded() as (proxy, recorder):
        reader, writer = await proxy.connect()
        writer.write(b"".join(star if here else GET + b"\r\n" for here in from_here))
        found = Answers()
        async with asyncio.timeout(60):
            while found.whole < 10_000:
                found.parser.feed_data(await reader.read(65536))
        writer.close()
        assert found.found == [(204, b"") if here else (200, b"ok") for here in from_here]
        assert recorder.whole == from_here.count(False)
