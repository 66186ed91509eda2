"""The state tables themselves: every state can be left and reached, ends are ends; and each of their cells is a move the engine makes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from services.http1 import states
from services.http1.limits import Limits
from services.http1.sweeper import sweep_idle
from services.http1.tunnel import accept_of, handshake
from tests.unit.http1.rig import MOVES, OK, Origin, Rig, TracedUpstream, Wire
from tests.unit.http1.vectors import GET, POST

TABLES = [(states.CLIENT, states.IDLE, states.CLOSED), (states.UPSTREAM, states.CONNECTING, states.GONE)]


@pytest.mark.parametrize(("table", "start", "end"), TABLES)
def test_every_state_is_reached_and_left(table: dict[int, dict[str, int]], start: int, end: int) -> None:
    """From the start each state can be reached, from each the end, which has no way out."""
    reached, todo = {start}, [start]
    while todo:
        for after in table[todo.pop()].values():
            if after not in reached:
                reached.add(after)
                todo.append(after)
    assert reached == set(table)
    assert all(end in moves.values() for state, moves in table.items() if state != end)
    assert table[end] == {}


def test_checks() -> None:
    """Staying is allowed, an empty cell is not."""
    assert states.check_client(states.HEAD, states.HEAD)
    assert states.check_client(states.HEAD, states.ACTIVE)
    assert not states.check_client(states.CLOSED, states.IDLE)
    assert states.check_upstream(states.SENT, states.BODY)
    assert not states.check_upstream(states.FREE, states.BODY)


WHOLE = GET + b"\r\n"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = GET + (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % KEY
)
AGREED = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept_of(
    KEY
)
LONG = POST + b"Content-Length: 1000000\r\n\r\nabc"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"
HELD = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nab"
Act = Callable[[Rig], object]


def send(*parts: bytes) -> Act:
    return lambda rig: rig.send_in(*parts)


def says(data: bytes) -> Act:
    """What the upstream answers with."""

    def act(rig: Rig) -> None:
        rig.origins[0].wire.protocol.data_received(data)
        rig.settle()

    return act


def both(*acts: Act) -> Act:
    return lambda rig: [act(rig) for act in acts]


def eof(rig: Rig) -> None:
    rig.client.eof_received()


def lost(rig: Rig) -> None:
    rig.wire.lose()


def later(seconds: float) -> Act:
    return lambda rig: rig.tick(seconds)


def idle_later(seconds: float) -> Act:
    return lambda rig: sweep_idle(rig.client, time.monotonic() + seconds)


def drain(rig: Rig) -> None:
    rig.server._close_idle()


def drain_ends(rig: Rig) -> None:
    rig.client.abort()


def another(rig: Rig) -> None:
    assert rig.another_client().out.startswith(b"HTTP/1.1 503")


def nothing(_rig: Rig) -> None:
    pass


TO_ANSWERED = both(send(POST + b"Content-Length: 9\r\n\r\nabc"), says(OK))
TO_CLOSING = both(send(GET + b"Connection: close\r\n\r\n"), says(OK))
TO_TUNNEL = both(send(UPGRADE), says(AGREED))
CLIENT: dict[tuple[int, str], tuple[Act, Act]] = {
    (states.IDLE, "message begins"): (nothing, send(b"GET / HT")),
    (states.IDLE, "bad input"): (nothing, send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")),
    (states.IDLE, "turned away"): (nothing, another),
    (states.IDLE, "drain"): (nothing, drain),
    (states.IDLE, "deadline"): (nothing, idle_later(100)),
    (states.IDLE, "eof"): (nothing, eof),
    (states.IDLE, "lost"): (nothing, lost),
    (states.HEAD, "head whole"): (send(GET), send(b"\r\n")),
    (states.HEAD, "bad input"): (send(GET), send(b" folded\r\n\r\n")),
    (states.HEAD, "deadline"): (send(GET), later(6)),
    (states.HEAD, "drain"): (send(GET), drain_ends),
    (states.HEAD, "eof"): (send(GET), eof),
    (states.HEAD, "lost"): (send(GET), lost),
    (states.ACTIVE, "next queued"): (send(WHOLE, WHOLE), says(OK)),
    (states.ACTIVE, "answer done, one has begun"): (send(WHOLE, GET), says(OK)),
    (states.ACTIVE, "answer done"): (send(WHOLE), says(OK)),
    (states.ACTIVE, "body missing"): (send(POST + b"Content-Length: 9\r\n\r\nabc"), says(OK)),
    (states.ACTIVE, "close wanted"): (send(GET + b"Connection: close\r\n\r\n"), says(OK)),
    (states.ACTIVE, "upgraded"): (send(UPGRADE), says(AGREED)),
    (states.ACTIVE, "eof"): (send(LONG), eof),
    (states.ACTIVE, "lost"): (send(WHOLE), lost),
    (states.ANSWERED, "request whole"): (TO_ANSWERED, send(b"defghi")),
    (states.ANSWERED, "too long"): (both(send(LONG), says(OK)), send(*[b"x" * 16384] * 5)),
    (states.ANSWERED, "drain"): (TO_ANSWERED, drain),
    (states.ANSWERED, "eof"): (TO_ANSWERED, eof),
    (states.ANSWERED, "lost"): (TO_ANSWERED, lost),
    (states.CLOSING, "eof"): (TO_CLOSING, eof),
    (states.CLOSING, "deadline"): (TO_CLOSING, later(2)),
    (states.CLOSING, "lost"): (TO_CLOSING, lost),
    (states.TUNNEL, "drain"): (TO_TUNNEL, drain_ends),
    (states.TUNNEL, "lost"): (TO_TUNNEL, lost),
}


def upstream_lost(rig: Rig) -> None:
    rig.origins[0].wire.lose()


def unconnected(rig: Rig) -> None:
    """A request waits for a connection that is being made."""
    rig.pool.connect = False
    rig.send(WHOLE)
    rig.pool.connect = True
    MOVES.clear()


def connect(rig: Rig) -> None:
    rig.pool._connect_more()


def connect_in_vain(rig: Rig) -> None:
    """It was made, and lost before it was of use."""
    rig.client.connection_lost(None)
    unused(rig)
    rig.origins[0].wire.lose()


def unused(rig: Rig) -> None:
    """Nobody waits any more when it is there."""
    connection, wire = TracedUpstream(rig.pool), Wire()
    wire.protocol = connection
    rig.origins.append(Origin(wire))
    connection.connection_made(wire)  # type: ignore[arg-type]


TO_FREE = both(send(WHOLE), says(OK))
TO_BODY = both(send(WHOLE), says(HELD))
UPSTREAM: dict[tuple[int, str], tuple[Act, Act]] = {
    (states.CONNECTING, "connected"): (unused, lambda rig: rig.pool._connected(rig.origins[0].wire.protocol)),
    (states.CONNECTING, "oldest waiter"): (unconnected, connect),
    (states.CONNECTING, "lost"): (unconnected, connect_in_vain),
    (states.FREE, "start"): (TO_FREE, send(WHOLE)),
    (states.FREE, "unasked bytes"): (TO_FREE, says(OK)),
    (states.FREE, "deadline"): (TO_FREE, lambda rig: rig.origins[0].wire.protocol.close()),
    (states.FREE, "lost"): (TO_FREE, upstream_lost),
    (states.SENT, "final head"): (send(WHOLE), says(HELD)),
    (states.SENT, "answer without body"): (send(WHOLE), says(b"HTTP/1.1 204 No\r\n\r\n")),
    (states.SENT, "upgraded"): (send(UPGRADE), says(AGREED)),
    (states.SENT, "client gone"): (send(WHOLE), lost),
    (states.SENT, "deadline"): (send(WHOLE), later(31)),
    (states.SENT, "invalid"): (send(WHOLE), says(b"rubbish\r\n\r\n")),
    (states.SENT, "lost"): (send(WHOLE), upstream_lost),
    (states.BODY, "message end"): (TO_BODY, says(b"x" * 99_997)),
    (states.BODY, "not reusable"): (TO_BODY, says(b"x" * 99_998)),
    (states.BODY, "client gone"): (TO_BODY, lost),
    (states.BODY, "deadline"): (TO_BODY, later(31)),
    (states.BODY, "lost"): (TO_BODY, upstream_lost),
}


def cells(table: dict[int, dict[str, int]]) -> set[tuple[int, str]]:
    return {(state, event) for state, moves in table.items() for event in moves}


def test_every_cell_has_its_walk() -> None:
    """A new cell needs one."""
    assert set(CLIENT) == cells(states.CLIENT)
    assert set(UPSTREAM) == cells(states.UPSTREAM)


def rig_for(event: str) -> Rig:
    limits = Limits(max_connections=1) if event == "turned away" else Limits()
    rig = Rig(limits=limits, stages=(handshake,), answer=lambda _request: None)
    MOVES.clear()
    return rig


@pytest.mark.parametrize(("cell", "walk"), CLIENT.items(), ids=[f"{state}-{event}" for state, event in CLIENT])
def test_every_cell_of_the_client_s_table(cell: tuple[int, str], walk: tuple[Act, Act]) -> None:
    """From the state, by the event, to where the table says (a refusal is answered at once, and goes on from there)."""
    state, event = cell
    rig = rig_for(event)
    walk[0](rig)
    assert rig.client.state == state
    MOVES.clear()
    walk[1](rig)
    passed = {(state, states.ACTIVE), (states.ACTIVE, states.CLOSING)} <= set(MOVES) and event == "deadline"
    assert (state, states.CLIENT[state][event]) in MOVES or passed


@pytest.mark.parametrize(("cell", "walk"), UPSTREAM.items(), ids=[f"{state}-{event}" for state, event in UPSTREAM])
def test_every_cell_of_the_upstream_s_table(cell: tuple[int, str], walk: tuple[Act, Act]) -> None:
    """The same for the next hop's side."""
    state, event = cell
    rig = rig_for(event)
    walk[0](rig)
    assert not rig.origins or rig.origins[0].wire.protocol.state == state
    MOVES.clear()
    walk[1](rig)
    after = states.UPSTREAM[state][event]
    passed = {(state, states.FREE), (states.FREE, after)} <= set(MOVES)  # the oldest waiter's is free for an instant
    passed = passed or {(state, states.BODY), (states.BODY, after)} <= set(MOVES)  # a head that is all of its answer
    assert (state, after) in MOVES or passed
