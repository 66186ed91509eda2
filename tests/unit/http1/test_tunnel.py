"""Upgraded connections on recorded wires: the handshake's rules, the relay, its ends."""

from __future__ import annotations

import time

import pytest

from services.core.verdicts import Outcome
from services.http1 import states
from services.http1.exchange import Exchange
from services.http1.limits import Deadlines, Limits
from services.http1.sweeper import sweep, sweep_idle
from services.http1.tunnel import accept_of, handshake
from tests.unit.http1.rig import Got, Rig, Wire

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 1.3's own
ASK = b"Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
GET = b"GET /echo HTTP/1.1\r\n" + ASK + b"Sec-WebSocket-Key: " + KEY + b"\r\n\r\n"
AGREED = (
    b"HTTP/1.1 101 Whatever\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
    % accept_of(KEY)
)


def flagged(x: Exchange) -> Outcome:
    """A stage whose every route may be upgraded."""
    return handshake(x)


def make(answer: bytes = AGREED, **options) -> Rig:
    return Rig(stages=(flagged,), answer=lambda _request: answer, **options)


def opened(**options) -> tuple[Rig, Wire]:
    rig = make(**options)
    rig.send(GET)
    assert rig.client.state == states.TUNNEL
    return rig, rig.origins[0].wire


def test_accept_value() -> None:
    """The example of RFC 6455 1.3."""
    assert accept_of(KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_bytes_pass_both_ways() -> None:
    """The handshake reaches the upstream as one, the 101 the client; from then on every byte passes as it came, what stood behind the 101
    first.
    """
    rig, upstream = Rig(stages=(flagged,), answer=lambda _request: AGREED + b"\x81\x02hi"), None
    rig.send(GET)
    upstream = rig.origins[0].wire
    asked = rig.forwarded()[0]
    assert asked.values(b"upgrade") == [b"websocket"]
    assert asked.values(b"connection") == [b"Upgrade"]
    assert (asked.values(b"sec-websocket-key"), asked.values(b"sec-websocket-version")) == ([KEY], [b"13"])
    head, _, rest = rig.wire.out.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
    assert lines.count(b"Upgrade: websocket") == lines.count(b"Connection: Upgrade") == 1
    assert b"Sec-WebSocket-Accept: " + accept_of(KEY) in lines
    assert rest == b"\x81\x02hi"
    rig.wire.protocol.data_received(b"GET / HTTP/1.1\r\n\r\n")
    assert upstream.out == b"GET / HTTP/1.1\r\n\r\n"
    upstream.protocol.data_received(b"\x00")
    assert rig.wire.out.endswith(b"hi\x00")
    x = rig.exchanges[0]
    assert (x.bytes_in, x.bytes_out, rig.heads, rig.server.tunnels, rig.pool.active) == (18, 5, 1, 1, 1)
    assert rig.pool.open_count == 0
    assert not rig.finished


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_half_close(first: str) -> None:
    """The end of one direction passes on, the other goes on; once both have ended the tunnel is over, and settled once."""
    rig, upstream = opened()
    one, other = (rig.wire, upstream) if first == "client" else (upstream, rig.wire)
    assert one.protocol.eof_received()
    assert (other.eof, other.closed, one.closed) == (True, "", "")
    other.protocol.data_received(b"later")
    assert one.out.endswith(b"later")
    other.protocol.eof_received()
    assert (one.closed, other.closed) == ("close", "close")
    assert one.eof
    one.lose()
    other.lose()
    assert rig.finished == rig.exchanges
    assert (rig.server.tunnels, rig.pool.active, rig.client.state) == (0, 0, states.CLOSED)
    assert rig.exchanges[0].reason == ""
    assert rig.client not in rig.server.sweeper.all


@pytest.mark.parametrize(("first", "reason"), [("client", "client-gone"), ("upstream", "cut")])
def test_reset(first: str, reason: str) -> None:
    """One end is gone without its end of bytes: the other is aborted at once."""
    rig, upstream = opened()
    one, other = (rig.wire, upstream) if first == "client" else (upstream, rig.wire)
    one.lose()
    assert other.closed == "abort"
    other.lose()
    assert [x.reason for x in rig.finished] == [reason]
    assert (rig.server.tunnels, rig.pool.active) == (0, 0)


def test_backpressure() -> None:
    """Each direction is held back by itself, whoever does not read."""
    rig, upstream = opened()
    for wire, peer in ((rig.wire, upstream), (upstream, rig.wire)):
        wire.stuck = True
        peer.protocol.data_received(b"x" * 70_000)
        assert not peer.reading
        assert wire.reading
        wire.unstick()
        assert peer.reading


def test_answers_not_read_yet_hold_the_tunnel_back() -> None:
    """The client has not taken an earlier answer when the 101 comes: the upstream waits too."""
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000
    rig = Rig(stages=(flagged,), answer=lambda got: AGREED if got.target == b"/echo" else long)
    rig.wire.stuck = True
    rig.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
    rig.send(GET)
    upstream = rig.origins[-1].wire
    assert not upstream.reading
    rig.wire.unstick()
    assert upstream.reading


def test_tls_has_no_half_close() -> None:
    """Where a direction cannot be ended by itself the connection is closed, after what was written."""
    rig, upstream = opened()
    rig.wire.half_closes = False
    upstream.protocol.eof_received()
    assert rig.wire.closed == "close"
    rig.wire.lose()
    assert upstream.closed == "close"
    upstream.lose()
    assert rig.exchanges[0].reason == ""
    rig, upstream = opened()
    rig.wire.half_closes = False
    assert not rig.wire.protocol.eof_received()
    assert upstream.eof


def test_idle_tunnels_end() -> None:
    """300 s without a byte: both peers hear the end; who does not go is aborted a second later. Bytes put it off."""
    rig, upstream = opened(deadlines=Deadlines(total_s=1, tunnel_idle_s=300))
    now = time.monotonic()
    assert not sweep(rig.client, now + 299)
    sweep_idle(rig.client, now + 299)
    assert not rig.wire.eof
    sweep_idle(rig.client, now + 301)
    assert (rig.wire.eof, upstream.eof, rig.wire.closed) == (True, True, "")
    upstream.protocol.data_received(b"too late")
    assert b"too late" not in rig.wire.out
    sweep_idle(rig.client, now + 301.5)
    assert rig.wire.closed == ""
    sweep_idle(rig.client, now + 302.1)
    assert (rig.wire.closed, upstream.closed) == ("abort", "abort")


def test_a_carrier_is_dropped() -> None:
    """Whoever cuts the exchange ends both connections."""
    rig, upstream = opened()
    rig.client.cut(rig.exchanges[0])
    rig.wire.lose()
    upstream.lose()
    assert (rig.wire.closed, upstream.closed) == ("abort", "abort")
    assert (len(rig.finished), rig.server.tunnels, rig.pool.active) == (1, 0, 0)


def test_many_are_bounded() -> None:
    """One more than `streams_max` is told to come back, before anything is sent on."""
    rig, _ = opened(limits=Limits(streams_max=1))
    wire = rig.another_client()
    wire.protocol.data_received(GET)
    assert wire.out.startswith(b"HTTP/1.1 503 ")
    assert b'"reason":"streams"' in wire.out
    assert len(rig.forwarded()) == 1


def refused(request: bytes) -> tuple[int, list[Got]]:
    rig = make()
    rig.send(request)
    return rig.answers()[0][0], rig.forwarded()


@pytest.mark.parametrize(
    "key", [b"", b"AAAA", b"dGhlIHNhbXBsZSBub25jZQ=", b"dGhlIHNhbXBsZSBub25j!Q==", b"dGhlIHNhbXBsZSBub25jZWVl"]
)
def test_malformed_keys(key: bytes) -> None:
    """A key that is not 16 bytes in base64 is 400, none at all and two as well; nothing is sent on."""
    line = b"Sec-WebSocket-Key: %b\r\n"
    assert refused(b"GET / HTTP/1.1\r\n" + ASK + line % key + b"\r\n") == (400, [])
    assert refused(b"GET / HTTP/1.1\r\n" + ASK + b"\r\n") == (400, [])
    assert refused(b"GET / HTTP/1.1\r\n" + ASK + line % KEY + line % KEY + b"\r\n") == (400, [])


@pytest.mark.parametrize("version", [b"", b"Sec-WebSocket-Version: 8\r\n", b"Sec-WebSocket-Version: 13, 8\r\n"])
def test_other_versions(version: bytes) -> None:
    """426 with the one that is spoken; the connection stays."""
    rig = make()
    rig.send(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
        + KEY
        + b"\r\n"
        + version
        + b"\r\n"
    )
    assert rig.wire.out.startswith(b"HTTP/1.1 426 ")
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in rig.wire.out
    assert b"\r\nUpgrade: websocket\r\n" in rig.wire.out
    assert not rig.wire.closed
    assert not rig.forwarded()


@pytest.mark.parametrize(
    "request_",
    [
        GET.replace(b"GET", b"POST"),
        GET.replace(b"HTTP/1.1", b"HTTP/1.0"),
        GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nab"),
        GET.replace(b"websocket", b"h2c"),
        GET.replace(b"Connection: Upgrade", b"Connection: keep-alive"),
    ],
    ids=["post", "1.0", "body", "h2c", "not in Connection"],
)
def test_what_is_no_handshake_is_served_plainly(request_: bytes) -> None:
    """Without GET, HTTP/1.1, an empty body or the right token there is no upgrade: the request goes on without one, its body whole."""
    rig = make(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    rig.send(request_)
    (got,) = rig.forwarded()
    assert (got.values(b"upgrade"), got.values(b"connection")) == ([], [])
    assert got.body == (b"ab" if b"Content-Length" in request_ else b"")
    assert rig.answers() == [(200, b"ok")]


@pytest.mark.parametrize(
    "answer",
    [
        AGREED.replace(accept_of(KEY), accept_of(b"x")),
        AGREED.replace(b"Sec-WebSocket-Accept", b"Sec-WebSocket-Except"),
        AGREED.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Accept: x\r\n\r\n"),
        AGREED.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        AGREED.replace(b"Upgrade: websocket\r\n", b""),
        AGREED.replace(b"Connection: Upgrade\r\n", b""),
    ],
)
def test_an_answer_that_agrees_to_something_else(answer: bytes) -> None:
    """A 101 whose accept value, token or connection option is not the one that was asked for: 502, the upstream is left."""
    rig = make(answer)
    rig.send(GET)
    assert rig.answers()[0][0] == 502
    assert rig.origins[0].wire.closed == "abort"
    assert rig.server.tunnels == 0


def test_an_upstream_may_decline() -> None:
    """Any other status is an answer like all others, and both connections stay."""
    rig = make(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
    rig.send(GET)
    assert rig.answers() == [(403, b"no")]
    assert not rig.wire.closed
    assert rig.pool.idle_count == 1


def test_101_split_at_every_byte() -> None:
    """However the head and the first frames come, the client sees the same."""
    whole, _ = opened()
    for at in range(1, len(AGREED) + 3):
        rig = Rig(stages=(flagged,), answer=lambda _request: None)
        rig.send(GET)
        wire = rig.origins[0].wire
        data = AGREED + b"\x81\x02hi"
        wire.protocol.data_received(data[:at])
        wire.protocol.data_received(data[at:])
        assert rig.wire.out == whole.wire.out + b"\x81\x02hi"


@pytest.mark.parametrize("early", [b"\x81\x02hi", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HT"])
def test_bytes_before_the_101(early: bytes) -> None:
    """They were read as HTTP and could be smuggled requests: 400, the upstream is aborted and gets none of them."""
    rig = Rig(stages=(flagged,), answer=lambda _request: None)
    rig.send(GET)
    rig.send(early)
    rig.origins[0].wire.protocol.data_received(AGREED)
    assert rig.wire.out.startswith(b"HTTP/1.1 400 ")
    assert rig.wire.eof
    assert rig.origins[0].wire.closed == "abort"
    assert len(rig.forwarded()) == 1
    assert rig.server.tunnels == 0


def test_hooks_see_the_101_as_an_answer() -> None:
    """on_answer may take it (and does not pass it on), on_head that fails is a 500: the upstream connection ends."""
    rig = make(on_answer=lambda _x, head: head.status != 101)
    rig.send(GET)
    assert (rig.wire.out, rig.origins[0].wire.closed, rig.pool.active) == (b"", "abort", 0)

    calls: list[Exchange] = []

    def fails_once(x: Exchange) -> None:
        calls.append(x)
        if len(calls) == 1:
            raise ValueError

    rig = make(on_head=(fails_once,))
    rig.send(GET)
    assert rig.answers()[0][0] == 500
    assert (rig.origins[0].wire.closed, rig.pool.active) == ("abort", 0)
