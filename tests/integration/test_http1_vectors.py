"""HTTP by the book at byte level: the tables of vectors (tests/unit/http1) through a real gateway and a recording upstream.

One gateway for all tests of this file. What reaches the upstream is read there by two independent parsers that must agree
(tests/harness/recorder.py); of a refused request nothing does.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

import pytest
import uvloop

from tests.harness.edge import Edge
from tests.harness.wait import eventually
from tests.harness.wire import Wire
from tests.integration.driven import BYTEWISE_TOGETHER, TOGETHER, Driver, bytewise, offsets
from tests.integration.proxied import recorded
from tests.unit.http1 import replies, vectors_bodies, vectors_fields, vectors_starts
from tests.unit.http1.replies import REPLIES, Reply
from tests.unit.http1.rig import Answers
from tests.unit.http1.rows import ROWS
from tests.unit.http1.vectors import GET, LONG, POST, VECTORS, Vector

T = TypeVar("T", Vector, Reply)
TABLES = {
    "starts": vectors_starts.VECTORS,
    "fields": vectors_fields.VECTORS,
    "bodies": vectors_bodies.VECTORS,
    "long": LONG,
}
ALL = (*VECTORS, *LONG)
ALL_REPLIES = (*REPLIES, *replies.LONG)


class Bench:
    """The gateway and the recorder, and the loop they are driven on: uvloop's, for tens of thousands of connections."""

    def __init__(self, runner: asyncio.Runner, edge: Edge) -> None:
        self.edge = edge
        self.run = runner.run

    def vectors(self, cuts: Iterable[tuple[Vector, list[bytes]]], together: int = TOGETHER) -> None:
        assert self.run(Driver(self.edge).run(cuts, together)) == []
        self.run(sound(self.edge))

    def replies(self, cuts: Iterable[tuple[Reply, list[bytes]]]) -> None:
        assert self.run(Driver(self.edge).run_replies(cuts)) == []
        self.run(sound(self.edge))


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        edge = Edge()
        runner.run(edge.__aenter__())
        try:
            yield Bench(runner, edge)
        finally:
            runner.run(edge.__aexit__(None, None, None))


def by_length(table: tuple[T, ...]) -> list[T]:
    """So that those that leave in step have about as many parts."""
    return sorted(table, key=lambda row: len(row.data))


async def sound(edge: Edge) -> None:
    """The process runs, and has logged no traceback."""
    assert await edge.alive(), edge.gateway.child.last_lines()


def test_every_row_has_its_vectors() -> None:
    """No row of the page without a vector or a named test, no vector or test without a row, no name twice."""
    every: tuple[Vector | Reply, ...] = (*ALL, *ALL_REPLIES)
    shown = {row for vector in every for row in vector.rows}
    assert shown <= ROWS.keys()
    assert {row for row, how in ROWS.items() if how == "vectors"} <= shown
    assert all(vector.rows for vector in every)
    for how in ROWS.values():
        if how != "vectors":
            path, _, name = how.partition("::")
            module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
            assert callable(getattr(module, name)), how
    for names in ([vector.name for vector in ALL], [reply.name for reply in ALL_REPLIES]):
        assert len(set(names)) == len(names)


def test_whole(bench: Bench) -> None:
    """Each vector in one write has its answers in order, its requests upstream, and ends or goes on."""
    bench.vectors((vector, [vector.data]) for vector in ALL)


@pytest.mark.parametrize("table", TABLES)
def test_split_at_every_byte(bench: Bench, table: str) -> None:
    """A split anywhere changes nothing (D25); long ones are split at their ends and some places between."""
    bench.vectors((v, [v.data[:at], v.data[at:]]) for v in TABLES[table] for at in offsets(v.data))


def test_byte_by_byte(bench: Bench) -> None:
    """One byte per packet changes nothing (D25)."""
    bench.vectors(((v, bytewise(v.data)) for v in by_length(ALL)), BYTEWISE_TOGETHER)


def test_answers_whole(bench: Bench) -> None:
    """What an upstream sends becomes the answer, a 502 or a cut connection; the next answer is right."""
    bench.replies((reply, [reply.data]) for reply in ALL_REPLIES)


def test_answers_split_at_every_byte(bench: Bench) -> None:
    """A split anywhere changes nothing."""
    bench.replies((r, [r.data[:at], r.data[at:]]) for r in ALL_REPLIES for at in offsets(r.data))


def test_answers_byte_by_byte(bench: Bench) -> None:
    """One byte per packet changes nothing."""
    bench.replies((reply, bytewise(reply.data)) for reply in by_length(ALL_REPLIES))


def test_routes(bench: Bench) -> None:
    """TRACE, and a method the route lacks: 405 with Allow, nothing upstream."""
    bench.run(routes(bench.edge))


async def routes(edge: Edge) -> None:
    wire = Wire(b"127.0.1.1")
    await wire.open(edge.gateway.port)
    for request in (b"TRACE /api/v1/status", b"DELETE /api/v1/status", b"POST /api/v1/status"):
        wire.send(request + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    await wire.until(3, closes=False)
    assert [status for status, _ in wire.answers] == [405] * 3
    assert {head[b"allow"] for head in wire.heads} == {b"GET, HEAD, OPTIONS"}
    assert edge.recorder.forget(wire.source) == ([], 0)
    wire.close()


def test_grown_body(bench: Bench) -> None:
    """A chunked body that grows over the limit: 413, and the upstream request is never completed (D14)."""
    bench.run(grown_body(bench.edge))


async def grown_body(edge: Edge) -> None:
    wire = Wire(b"127.0.1.2")
    await wire.open(edge.gateway.port)
    wire.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    block = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    for _ in range(11):
        wire.send(block)
    await wire.until(1, closes=True, within_s=20)
    assert [status for status, _ in wire.answers] == [413]
    assert wire.ended
    whole, _ = edge.recorder.forget(wire.source)
    assert whole == []
    wire.close()
    await sound(edge)


def test_reset_at_every_byte(bench: Bench) -> None:
    """A reset, or an end, at each byte of a request with a body: the upstream connection is aborted, the next one served (D26)."""
    bench.run(reset_at_every_byte(bench.edge))


async def reset_at_every_byte(edge: Edge) -> None:
    request = POST + b"Content-Length: 20\r\n\r\n" + b"x" * 20
    driver = Driver(edge)
    for clean in (False, True):
        wires = [Wire(next(driver.addresses)) for _ in range(1, len(request))]
        await asyncio.gather(*(wire.open(edge.gateway.port) for wire in wires))
        for at, wire in enumerate(wires, 1):
            wire.send(request[:at])
        await driver.taken.wait()
        for wire in wires:
            if clean:
                wire.transport.write_eof()
                await wire.until(0, closes=True)
                assert wire.whole == 0
            wire.close()
        for wire in wires:
            assert edge.recorder.forget(wire.source)[0] == []
    await eventually(
        lambda: not any(carried.head for carried in edge.recorder.open), 1, "half-sent upstream requests are gone"
    )
    assert await driver.run(iter([(VECTORS[0], [VECTORS[0].data])])) == []
    await sound(edge)


def test_half_close_is_answered(bench: Bench) -> None:
    """FIN behind the request: it is still answered."""
    bench.run(half_close_is_answered(bench.edge))


async def half_close_is_answered(edge: Edge) -> None:
    wire = Wire(b"127.0.1.3")
    await wire.open(edge.gateway.port)
    wire.send(GET + b"\r\n")
    wire.transport.write_eof()
    await wire.until(1, closes=True)
    assert [status for status, _ in wire.answers] == [200]
    wire.close()


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
