"""The connections to one endpoint: newest first, bounded, left alone after a failed connect."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.http1.exchange import DONE, FORWARDED, Exchange
from services.http1.limits import Deadlines, Limits
from services.http1.pool import Pool
from services.http1.runner import Pipeline
from services.http1.upstream import Failure
from tests.harness.wait import eventually
from tests.unit.http1.rig import OK, Rig, Wire, parse_answers


class Client:
    """A server connection's part that a pool sees."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.body_stopped = False

    def answer(self, x: Exchange, head: object, pieces: list[bytes], whole: bool) -> None:
        assert whole
        x.state = DONE
        self.answers.append((head.status, b"".join(pieces)))  # type: ignore[attr-defined]

    def stop_body(self) -> None:
        self.body_stopped = True

    def go_on_body(self) -> None:
        self.body_stopped = False


def exchange(failures: list[Failure] | None = None) -> Exchange:
    def failed(_x: Exchange, failure: Failure) -> None:
        assert failures is not None
        failures.append(failure)

    client = Client()
    client.reply = lambda x, _out: setattr(x, "state", DONE)  # type: ignore[attr-defined]
    x = Exchange(client, Pipeline((), on_failure=failed), b"/", 0)  # type: ignore[arg-type]
    x.method = b"GET"
    return x


def answers(x: Exchange) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = x.connection.answers  # type: ignore[attr-defined]
    return found


HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


OPEN: set[asyncio.StreamWriter] = set()


async def one_by_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    OPEN.add(writer)
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        OPEN.discard(writer)
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[asyncio.Server]:
    served = await asyncio.start_server(one_by_one, "127.0.0.1", 0)
    yield served
    served.close()
    await eventually(lambda: not OPEN, 2, "every handler has ended")
    await asyncio.sleep(0)


def port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


async def test_connects_and_reuses(server: asyncio.Server) -> None:
    """The first exchange waits for a connection, the next ones take it at once; `on_connect` hears of it."""
    heard: list[bool] = []
    pool = Pool("127.0.0.1", port_of(server), Limits(), Deadlines(), on_connect=heard.append)
    for _ in range(3):
        x = exchange()
        pool.start(x, HEAD)
        assert x.state == FORWARDED
        await eventually(partial(answers, x), 2, "an answer")
    assert heard == [True]
    assert (pool.idle_count, pool.active, pool.open_count) == (1, 0, 1)
    pool.close()


async def test_many_at_once(server: asyncio.Server) -> None:
    """More exchanges than connections: all are answered, and never more connections than allowed."""
    pool = Pool("127.0.0.1", port_of(server), Limits(upstream_max=3, connecting_max=2), Deadlines())
    waiting = [exchange() for _ in range(20)]
    for x in waiting:
        pool.start(x, HEAD)
    assert pool.connecting == 2
    await eventually(lambda: all(x.state == DONE for x in waiting), 2, "all answered")
    assert pool.open_count <= 3
    assert pool.active == 0
    pool.close()


async def test_a_burst_gets_its_connections(server: asyncio.Server) -> None:
    """More requests at once than may connect at once, none of them answered: each has a connection of its own all the same. They waited
    for one another's answers.
    """
    pool = Pool("127.0.0.1", port_of(server), Limits(connecting_max=2), Deadlines())
    failures: list[Failure] = []
    for _ in range(20):
        pool.start(exchange(failures), b"GET / HTTP/1.1\r\nX: y")  # the head never ends: one CRLF follows, not two
    assert pool.connecting == 2
    await eventually(lambda: pool.open_count == 20, 2, "a connection each")
    assert not pool.waiters
    pool.close()
    assert len(failures) == 20


def test_newest_first() -> None:
    """The connection that was used last is used next: hot ones stay hot, cold ones expire."""
    rig = Rig()
    pool = rig.pool
    several = [exchange() for _ in range(3)]
    for x in several:
        pool.start(x, HEAD)
    rig.settle()
    assert pool.idle_count == 3
    used = pool._idle[-1]
    for _ in range(5):
        x = exchange()
        pool.start(x, HEAD)
        assert x.upstream is used
        rig.settle()


async def test_refused_connect() -> None:
    """The waiters fail at once, nothing was sent, and the endpoint is left alone for 100 ms at least."""
    closed = await asyncio.start_server(one_by_one, "127.0.0.1", 0)
    port = port_of(closed)
    closed.close()
    await closed.wait_closed()
    heard: list[bool] = []
    failures: list[Failure] = []
    pool = Pool("127.0.0.1", port, Limits(), Deadlines(), on_connect=heard.append)
    x = exchange(failures)
    pool.start(x, HEAD)
    await eventually(lambda: failures, 2, "a failure")
    assert failures == [Failure("connect_failed", sent=False)]
    assert heard == [False]
    assert pool.backoff_until > 0
    assert pool.active == 0
    y = exchange(failures)
    pool.start(y, HEAD)
    assert len(failures) == 1, "never before start has returned"
    await asyncio.sleep(0)
    assert len(failures) == 2
    assert heard == [False], "no connect while it is left alone"
    pool.close()


async def test_our_own_stall_is_no_connect_timeout(server: asyncio.Server) -> None:
    """A loop that stood still for longer than a connect may take finds its connections made, not timed out; the
    endpoint is not left alone for it, which would be 503 no-backend for everybody meanwhile.
    """
    failures: list[Failure] = []
    heard: list[bool] = []
    deadlines = Deadlines(connect_s=0.2)
    pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1], Limits(), deadlines, on_connect=heard.append)
    asked = [exchange(failures) for _ in range(40)]
    for x in asked:
        pool.start(x, HEAD)
    await asyncio.sleep(0)  # the connects have begun
    time.sleep(0.3)  # noqa: ASYNC251  # the stall
    await eventually(lambda: all(answers(x) for x in asked), 2, "all are answered")
    assert (failures, pool.backoff_until, False in heard) == ([], 0.0, False)
    pool.close()


async def test_a_connect_that_hangs_times_out() -> None:
    """An endpoint whose backlog is full says nothing: the connect ends after `connect_s`."""
    failures: list[Failure] = []
    with socket.socket() as full, contextlib.ExitStack() as queued:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # more than the backlog holds
            one = queued.enter_context(socket.socket())
            one.settimeout(0)
            one.connect_ex(full.getsockname())
        pool = Pool("127.0.0.1", full.getsockname()[1], Limits(), Deadlines(connect_s=0.2))
        begun = time.monotonic()
        pool.start(exchange(failures), HEAD)
        await eventually(lambda: bool(failures), 2, "given up")
        assert [failure.kind for failure in failures] == ["connect_timeout"]
        assert 0.15 < time.monotonic() - begun < 1.0
        pool.close()


async def test_queue_is_bounded(server: asyncio.Server) -> None:
    """One waiter too many: queue_full, for that one only."""
    failures: list[Failure] = []
    pool = Pool("127.0.0.1", port_of(server), Limits(waiters_max=2), Deadlines())
    several = [exchange(failures) for _ in range(3)]
    for x in several:
        pool.start(x, HEAD)
    await eventually(lambda: all(x.state == DONE for x in several), 2, "all ended")
    assert [f.kind for f in failures] == ["queue_full"]
    pool.close()


async def test_cancelled_waiter(server: asyncio.Server) -> None:
    """Its place goes to the next, the connection becomes idle."""
    pool = Pool("127.0.0.1", port_of(server), Limits(), Deadlines())
    x = exchange()
    pool.start(x, HEAD)
    pool.abort(x)
    assert pool.active == 0
    await eventually(lambda: pool.idle_count == 1, 2, "an idle connection")
    assert answers(x) == []
    pool.close()


async def test_close_fails_what_is_under_way() -> None:
    """close: upstream_reset for each; retire lets them finish."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        OPEN.add(writer)
        await reader.read()
        OPEN.discard(writer)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    failures: list[Failure] = []
    pool = Pool("127.0.0.1", port_of(server), Limits(), Deadlines())
    x = exchange(failures)
    pool.start(x, HEAD)
    await eventually(lambda: x.handed, 2, "it is sent")
    pool.retire()
    assert failures == []
    pool.close()
    assert [f.kind for f in failures] == ["upstream_reset"]
    assert pool.open_count == 0
    server.close()
    await eventually(lambda: not OPEN, 2, "the handler has ended")
    await asyncio.sleep(0)


async def test_retired_pool_keeps_nothing(server: asyncio.Server) -> None:
    """Idle connections close at once, a busy one after its answer."""
    pool = Pool("127.0.0.1", port_of(server), Limits(), Deadlines())
    x = exchange()
    pool.start(x, HEAD)
    pool.retire()
    await eventually(partial(answers, x), 2, "an answer")
    await eventually(lambda: pool.open_count == 0, 2, "nothing is open")
    assert pool.idle_count == 0
    pool.close()


async def test_idle_connections_expire(server: asyncio.Server) -> None:
    """After upstream_idle_s they are closed from this side."""
    pool = Pool("127.0.0.1", port_of(server), Limits(), Deadlines(upstream_idle_s=0.0))
    x = exchange()
    pool.start(x, HEAD)
    await eventually(partial(answers, x), 2, "an answer")
    await eventually(lambda: pool.open_count == 0, 3, "it has expired")
    assert pool.idle_count == 0
    pool.close()


async def test_waiting_body_is_bounded() -> None:
    """A body that waits for a connection stops its client beyond pending_body_max."""
    rig = Rig(limits=Limits(pending_body_max=10))
    rig.pool.connect = False
    rig.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
    rig.send(b"x" * 20)
    assert not rig.wire.reading


BEGUN = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"


def crowd(count: int, start: bytes = BEGUN, **limits: int) -> tuple[Rig, list[Wire]]:
    """So many clients whose bodies have only begun, before an endpoint with four connections."""
    rig = Rig(limits=Limits(upstream_max=4, **limits))
    wires = [rig.another_client() for _ in range(count)]
    for wire in wires:
        wire.protocol.data_received(start)
    return rig, wires


def test_slow_bodies_do_not_hold_every_connection() -> None:
    """A quarter of the connections waits for bodies; the others' requests are collected, and sent on once they are whole."""
    rig, wires = crowd(5)
    assert (rig.pool.open_count, rig.pool.uploading, rig.pool.active) == (1, 1, 5)
    rig.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert rig.answers() == [(200, b"ok")]
    wires[3].protocol.data_received(b"x" * 60)
    assert len(rig.forwarded()) == 2
    wires[3].protocol.data_received(b"y" * 40)
    rig.settle()
    assert rig.forwarded()[-1].body == b"x" * 60 + b"y" * 40
    assert wires[3].out.startswith(b"HTTP/1.1 200")
    wires[0].protocol.data_received(b"z" * 100)
    rig.settle()
    assert (rig.pool.uploading, rig.pool.active) == (0, 3)


def test_a_long_body_is_not_waited_for() -> None:
    """Beyond pending_body_max it goes on as it comes."""
    rig, wires = crowd(3, pending_body_max=50)
    wires[2].protocol.data_received(b"x" * 60)
    rig.settle()
    assert [got.body for got in rig.forwarded()] == [b"", b"x" * 60]


def test_a_client_that_waits_for_100_is_told_so_while_its_body_is_collected() -> None:
    """It would wait for ever otherwise; told once."""
    rig, wires = crowd(2, BEGUN.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert [wire.out for wire in wires] == [b"HTTP/1.1 100 Continue\r\n\r\n"] * 2
    wires[1].protocol.data_received(b"x" * 100)
    rig.settle()
    assert wires[1].out.count(b"100 Continue") == 1
    assert b"HTTP/1.1 200" in wires[1].out


def test_clients_gone_while_their_bodies_are_collected() -> None:
    """Nothing of them stays, sent on or not."""
    rig, wires = crowd(3)
    for wire in wires:
        wire.lose()
    assert (rig.pool.uploading, rig.pool.active, rig.pool.open_count) == (0, 0, 0)


def test_slow_readers_do_not_hold_every_connection() -> None:
    """A connection whose client does not read counts for nothing: another may be opened in its place; it counts again when read from."""
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000
    rig = Rig(limits=Limits(upstream_max=1), answer=lambda got: long if got.target == b"/long" else OK)
    slow = [rig.another_client() for _ in range(2)]
    for wire in slow:
        wire.stuck = True
        wire.protocol.data_received(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        rig.settle()
    assert (rig.pool.paused, rig.pool.open_count) == (2, 2)
    rig.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert rig.answers() == [(200, b"ok")]
    slow[0].unstick()
    assert rig.pool.paused == 1
    slow[1].lose()
    assert rig.pool.paused == 0


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(["send", "answer", "surplus", "gone", "lose"]), st.integers(0, 5)), max_size=40)
)
def test_answers_reach_their_askers(steps: list[tuple[str, int]]) -> None:
    """Three clients over one pool: whatever order requests, answers, resets and surplus bytes come in, each client gets the answers to
    its own requests, in order, and nothing else (invariant 10).
    """
    rig = Rig(answer=lambda _request: None)
    clients = [rig.another_client() for _ in range(3)]
    sent: list[list[bytes]] = [[], [], []]
    gone: set[int] = set()
    for number, (step, which) in enumerate(steps):
        at = which % 3
        if step == "send" and at not in gone:
            sent[at].append(b"/%d-%d" % (at, number))
            clients[at].protocol.data_received(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % sent[at][-1])
        elif step == "gone" and at not in gone:
            gone.add(at)
            clients[at].lose()
        elif rig.origins:
            origin = rig.origins[which % len(rig.origins)]
            origin.take()
            waiting = [request for request in origin.requests[origin.answered :] if request.whole]
            if origin.wire.closed:
                continue
            if step == "lose":
                origin.wire.lose()
            elif waiting:
                origin.answered += 1
                body = waiting[0].target
                extra = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong" if step == "surplus" else b""
                origin.wire.protocol.data_received(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b%b" % (len(body), body, extra)
                )
    for at, wire in enumerate(clients):
        if at not in gone:
            answers = parse_answers(wire.out)
            assert [b for s, b in answers if s == 200] == [
                t for t, (s, _) in zip(sent[at], answers, strict=False) if s == 200
            ]
            assert {status for status, _ in answers} <= {200, 502}
    assert rig.pool.active >= 0
