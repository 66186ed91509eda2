"""Deadlines: heads, bodies, totals, tries, stalled readers, idle and old connections, seen by the sweep."""

from __future__ import annotations

import time
from typing import Any

import pytest

from services.core.verdicts import PARKED, Outcome
from services.http1 import states
from services.http1.exchange import Exchange
from services.http1.limits import Deadlines
from services.http1.sweeper import Sweeper, oldest_idle, sweep, sweep_idle
from services.http1.upstream import Failure
from tests.unit.http1.rig import Rig
from tests.unit.http1.vectors import GET, POST


def statuses(rig: Rig) -> list[int]:
    return [status for status, _ in rig.answers()]


@pytest.mark.parametrize("start", [b"G", b"GET /x HTT", GET, GET + b"X: y\r\n", b"FO"])
def test_slow_head(start: bytes) -> None:
    """A head that is not whole head_s after its first byte: 408, close; not a moment before."""
    rig = Rig()
    rig.send(start)
    assert rig.tick(0.1)
    rig.tick(4.9)
    assert rig.wire.out == b""
    rig.tick(5.2)
    assert statuses(rig) == [408]
    assert rig.wire.eof
    assert rig.server.bad_requests == {"head-timeout": 1}


def test_steady_heads_never_time_out() -> None:
    """A busy connection that is always seen inside a head is not slow."""
    rig = Rig()
    rig.send(GET)
    for step in range(20):
        rig.client.head_since += step  # it began then
        rig.tick(step * 1.0)
        rig.send(b"\r\n" + GET)
    assert statuses(rig) == [200] * 20


def test_slow_body() -> None:
    """Less than 1 KiB/s after the grace: 408, and the upstream is aborted."""
    rig = Rig()
    rig.send(POST + b"Content-Length: 100000\r\n\r\n")
    rig.tick(4.0)
    assert statuses(rig) == []
    rig.tick(5.1)
    assert statuses(rig) == [408]
    assert rig.origins[0].wire.closed == "abort"


def test_fast_enough_body() -> None:
    """Each five seconds bring five KiB: no deadline but the total one."""
    rig = Rig(deadlines=Deadlines(total_s=1000))
    rig.send(POST + b"Content-Length: 60000\r\n\r\n")
    for step in range(1, 10):
        rig.send(b"x" * 6000)
        rig.tick(step * 5.1)
    rig.send(b"x" * 6000)
    assert statuses(rig) == [200]


def test_paused_body_is_not_slow() -> None:
    """While we are the ones who do not read, the client's clock stands."""
    rig = Rig(deadlines=Deadlines(total_s=1000))
    rig.send(POST + b"Content-Length: 200000\r\n\r\n")
    rig.origins[0].wire.stuck = True
    rig.send(b"x" * 100_000)
    assert not rig.wire.reading
    for step in range(1, 6):
        rig.tick(step * 10.0)
    assert statuses(rig) == []


def test_total_deadline() -> None:
    """504 before a head, wherever the exchange is; with the answer under way the client is cut off."""
    rig = Rig(answer=lambda _request: None)
    rig.send(GET + b"\r\n")
    rig.tick(30.1)
    assert statuses(rig) == [504]
    assert rig.origins[0].wire.closed == "abort"
    rig = Rig(stages=(lambda _x: PARKED,))
    rig.send(GET + b"\r\n")
    rig.tick(30.1)
    assert statuses(rig) == [504]
    rig = Rig(answer=lambda _request: b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\nabc")
    rig.send(GET + b"\r\n")
    rig.tick(30.1)
    assert rig.wire.closed == "abort"
    assert rig.finished[0].reason == "deadline"


def test_shorter_deadline_of_a_stage() -> None:
    """What a stage sets holds."""

    def shorten(x: Exchange) -> Outcome:
        x.deadline = x.started + 2
        return None

    rig = Rig(answer=lambda _request: None, stages=(shorten,))
    rig.send(GET + b"\r\n")
    rig.tick(1.9)
    assert statuses(rig) == []
    rig.tick(2.1)
    assert statuses(rig) == [504]


def test_failure_hook_hears_of_deadlines() -> None:
    """try_timeout and deadline reach on_failure with what was sent, so breakers and retries know."""
    heard: list[Failure] = []

    def arm(x: Exchange) -> Outcome:
        x.try_deadline = x.started + 1
        return None

    def failed(_x: Exchange, failure: Failure) -> Outcome:
        heard.append(failure)
        return None

    rig = Rig(answer=lambda _request: None, stages=(arm,), on_failure=failed)
    rig.send(GET + b"\r\n")
    rig.tick(1.1)
    assert heard == [Failure("try_timeout", sent=True)]
    assert statuses(rig) == [504]
    rig = Rig(stages=(arm,), on_failure=failed)
    rig.pool.connect = False
    rig.send(GET + b"\r\n")
    rig.tick(31)
    assert heard[1] == Failure("deadline", sent=False)


def test_stalled_reader() -> None:
    """A client that takes nothing of its answer for answer_stall_s is cut off; one that takes a little is not."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"a" * 100_000
    for taken, cut in ((0, True), (10, False)):
        rig = Rig(answer=lambda _request: reply, deadlines=Deadlines(total_s=1000))
        rig.wire.stuck = True
        rig.send(GET + b"\r\n")
        for step in range(1, 5):
            rig.tick(step * 10.0)
            rig.wire.unwritten -= taken
        assert bool(rig.wire.closed) is cut


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"], ids=["kept", "closing"])
def test_an_answer_that_is_whole_and_not_taken(last: bytes) -> None:
    """All of it is written here and lies there: the client has answer_stall_s from the last byte it took, then it is reset, be the
    connection idle or closing; as long as it takes some, neither idle time nor linger_s ends it.
    """
    rig = Rig(answer=lambda _request: b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + b"a" * 50_000)
    rig.wire.stuck = True
    rig.send(GET + last + b"\r\n")
    for step in range(1, 8):
        rig.wire.unwritten -= 10
        assert rig.tick(step * 20.0)
        sweep_idle(rig.client, time.monotonic() + step * 20)
        assert not rig.wire.closed
    assert rig.tick(140 + 29.0)
    rig.tick(140 + 31.0)
    assert rig.wire.closed == "abort"


def test_a_taken_answer_is_lingered_for() -> None:
    """linger_s counts from when the last byte has left, not from when it was written."""
    rig = Rig(answer=lambda _request: b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + b"a" * 50_000)
    rig.wire.stuck = True
    rig.send(GET + b"Connection: close\r\n\r\n")
    rig.tick(0.1)
    rig.tick(3.0)
    assert not rig.wire.closed
    rig.wire.unwritten = 0
    rig.tick(3.1)
    rig.tick(4.0)
    assert not rig.wire.closed
    rig.tick(4.2)
    assert rig.wire.closed


def test_what_is_closed_but_not_taken() -> None:
    """A connection that was closed with bytes to write is not kept for ever by a peer that takes none."""
    rig = Rig()
    wire: Any = rig.wire
    wire.stuck, wire.unwritten = True, 10
    rig.client.close()
    assert wire.closed == "close"
    wire.closed = ""  # it has only begun to
    now = time.monotonic()
    sweep_idle(rig.client, now)
    sweep_idle(rig.client, now + 29)
    assert not wire.closed
    sweep_idle(rig.client, now + 31)
    assert wire.closed == "abort"


def test_answered_and_never_finished() -> None:
    """A client that never sends the rest of a refused body is let go."""
    rig = Rig()
    rig.send(POST + b"Content-Length: 1000\r\n\r\nabc")
    rig.origins[0].wire.protocol.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert rig.client.state == states.ANSWERED
    rig.tick(6)
    assert rig.client.state == states.CLOSING


def test_idle_connections() -> None:
    """Closed without a word after idle_s, or once they are old; not while something is under way."""
    now = time.monotonic()
    rig = Rig(deadlines=Deadlines(idle_s=10))
    assert not sweep(rig.client, now)
    sweep_idle(rig.client, now + 8)
    assert not rig.wire.closed
    sweep_idle(rig.client, now + 12)
    assert rig.wire.closed
    assert rig.wire.out == b""
    rig = Rig(deadlines=Deadlines(idle_s=10_000, connection_age_s=100), answer=lambda _request: None)
    rig.send(GET + b"\r\n")
    sweep_idle(rig.client, now + 200)
    assert not rig.wire.closed


def test_idle_connections_of_a_crowded_server() -> None:
    """They have `crowded_idle_s`, and the oldest are found for those that come."""
    now = time.monotonic()
    rig = Rig(deadlines=Deadlines(idle_s=100, crowded_idle_s=5))
    rig.server.crowded = True
    sweep(rig.client, now)
    sweep_idle(rig.client, now + 4)
    assert not rig.wire.closed
    young = rig.another_client().protocol
    young.since = now + 1
    rig.send(GET)
    assert oldest_idle(rig.server.sweeper.all, 5) == [young]
    rig.send(b"\r\n")
    assert oldest_idle(rig.server.sweeper.all, 1) == [rig.client]
    sweep_idle(rig.client, now + 6)
    assert rig.wire.closed


def test_old_connections_close_with_an_answer() -> None:
    """A busy connection past connection_age_s gets Connection: close on its next answer."""
    rig = Rig(deadlines=Deadlines(connection_age_s=100, total_s=1000), answer=lambda _request: None)
    rig.send(GET + b"\r\n")
    rig.tick(120)
    rig.answer = lambda _request: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    rig.settle()
    assert b"Connection: close\r\n" in rig.wire.out


def test_sweeper_demotes_and_finds_again() -> None:
    """Idle connections leave the list of live ones, are looked at once a second, and return with their next bytes."""
    sweeper = Sweeper()
    rig = Rig(deadlines=Deadlines(idle_s=10))
    rig.server.sweeper = sweeper
    sweeper.all.add(rig.client)
    now = time.monotonic()
    rig.client.watched = False
    rig.send(GET + b"\r\n")
    assert sweeper.live == [rig.client]
    sweeper.tick(now, 0.0)
    assert sweeper.live == []
    rig.send(GET + b"\r\n")
    assert sweeper.live == [rig.client]
    for step in range(60):
        sweeper.tick(now + step, 0.0)
    assert rig.wire.closed


def test_date_line() -> None:
    """Rendered once a second."""
    sweeper = Sweeper()
    sweeper.tick(0.0, 784111777.9)
    assert sweeper.date_line == b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
