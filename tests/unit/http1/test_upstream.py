"""Answers of data-path 3.2: what is invalid becomes 502 and costs the connection; what is surplus never reaches the next exchange."""

from __future__ import annotations

import pytest

from services.core.verdicts import PARKED, Outcome
from services.http1 import runner
from services.http1.exchange import Exchange
from services.http1.heads import UpstreamHead
from services.http1.limits import Limits
from services.http1.upstream import Failure
from tests.unit.http1.rig import OK, Rig
from tests.unit.http1.vectors import GET, POST

INVALID = {
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "differing lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "malformed length": b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
    "leading zero": b"HTTP/1.1 200 OK\r\nContent-Length: 03\r\n\r\nabc",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "two codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n",
    "folding": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "control byte": b"HTTP/1.1 200 OK\r\nX: \x01\r\n\r\n",
    "bad name": b"HTTP/1.1 200 OK\r\nX y: a\r\n\r\n",
    "no status line": b"hello\r\n\r\n",
    "status 99": b"HTTP/1.1 99 X\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 X\r\n\r\n",
    "status abc": b"HTTP/1.1 abc X\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "9 interim answers": b"HTTP/1.1 102 X\r\n\r\n" * 9 + OK,
    "205 with a body": b"HTTP/1.1 205 X\r\nContent-Length: 3\r\n\r\nabc",
    "201 fields": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X%d: 1\r\n" % i for i in range(201)) + b"\r\n",
    "head of 70 KiB": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X%d: %b\r\n" % (i, b"v" * 1000) for i in range(70)) + b"\r\n",
    "endless field": b"HTTP/1.1 200 OK\r\nX: " + b"v" * 70_000,
    "interim answers without end": b"HTTP/1.1 103 X\r\n\r\n" * 200,
}


@pytest.mark.parametrize("name", INVALID)
@pytest.mark.parametrize("size", [1_000_000, 1, 7])
def test_invalid_answers(name: str, size: int) -> None:
    """U1, U2, U3: 502, that connection is closed, and the next answer is right; in one piece, in bytes, in sevens."""
    reply = INVALID[name]
    replies = [b"", OK]
    rig = Rig(answer=lambda _request: replies.pop(0) or None)
    rig.send(GET + b"\r\n")
    origin = rig.origins[0]
    origin.answered += 1
    for at in range(0, len(reply), size):
        if not origin.wire.closed:
            origin.wire.protocol.data_received(reply[at : at + size])
    rig.send(GET + b"\r\n")
    statuses = [status for status, _ in rig.answers() if status not in {102, 103}]
    assert statuses == [502, 200]
    assert origin.wire.closed
    assert rig.pool.active == 0


@pytest.mark.parametrize(
    "reply",
    [
        OK + b"x",
        OK + OK,
        OK + b"HTTP/1.1 200",
        OK + b"\r\n",
        OK + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\r\n\r\n",
        b"HTTP/1.1 204 X\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_not_used_again(reply: bytes) -> None:
    """Surplus bytes, Connection: close and HTTP/1.0 cost the connection, not the answer (invariant 10)."""
    replies = [reply, OK]
    rig = Rig(answer=lambda _request: replies.pop(0))
    rig.send(GET + b"\r\n")
    rig.send(GET + b"\r\n")
    assert len(rig.origins) == 2
    assert rig.origins[0].wire.closed
    assert [status for status, _ in rig.answers()][-1] == 200


@pytest.mark.parametrize(
    "reply",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na\r\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: trailer\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_used_again(reply: bytes) -> None:
    """A whole answer gives its connection back, whatever line ends its body has; byte by byte too."""
    for size in (10_000, 1):
        rig = Rig(answer=lambda _request: None)
        for _ in range(3):
            rig.send(GET + b"\r\n")
            for at in range(0, len(reply), size):
                rig.origins[0].wire.protocol.data_received(reply[at : at + size])
        assert len(rig.origins) == 1
        assert len(rig.finished) == 3


def test_unasked_bytes_on_an_idle_connection() -> None:
    """They cost the connection (U4)."""
    rig = Rig()
    rig.send(GET + b"\r\n")
    rig.origins[0].wire.protocol.data_received(OK)
    assert rig.origins[0].wire.closed == "abort"
    assert rig.pool.idle_count == 0
    rig.send(GET + b"\r\n")
    assert rig.answers() == [(200, b"ok")] * 2


def test_client_gone_aborts_the_upstream() -> None:
    """A connection with a cancelled exchange is never used again."""
    rig = Rig(answer=lambda _request: None)
    rig.send(GET + b"\r\n")
    rig.client.connection_lost(None)
    assert rig.origins[0].wire.closed == "abort"
    assert rig.pool.idle_count == rig.pool.active == 0


@pytest.mark.parametrize("clean", [True, False])
def test_reset_before_the_head(clean: bool) -> None:
    """502 when nobody retries (U5)."""
    rig = Rig(answer=lambda _request: None)
    rig.send(GET + b"\r\n")
    protocol = rig.origins[0].wire.protocol
    protocol.eof_received() if clean else protocol.connection_lost(ConnectionResetError())
    assert [status for status, _ in rig.answers()] == [502]
    assert b"error=connection_terminated" in rig.wire.out


@pytest.mark.parametrize("come", [b"", b"a", b"abcd"])
def test_a_short_answer_that_breaks_off_may_be_asked_for_again(come: bytes) -> None:
    """Killed between head and body: nothing has gone on, so another try is made; without one it is 502, not a cut."""
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + come
    replies = [half, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"]

    def again(x: Exchange, failure: Failure) -> Outcome:
        if failure.kind != "upstream_reset" or not replies:
            return None
        runner.rewind(x, 0)
        return PARKED

    rig = Rig(answer=lambda _request: replies.pop(0) if replies else half, on_failure=again)
    rig.send(GET + b"\r\n")
    assert rig.wire.out == b""
    rig.origins[0].wire.lose()
    rig.settle()
    assert [(status, body) for status, body in rig.answers()] == [(200, b"whole")]
    rig.origins[1].wire.lose()
    rig.send(GET + b"\r\n")
    rig.origins[2].wire.lose()
    assert [status for status, _ in rig.answers()] == [200, 502]


def test_a_short_answer_in_two_reads_leaves_in_one_write() -> None:
    """A server that writes head and body one after the other costs the client one packet; a long one is passed on."""
    rig = Rig(answer=lambda _request: b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
    rig.send(GET + b"\r\n")
    assert rig.wire.out == b""
    rig.origins[0].wire.protocol.data_received(b"abc")
    assert rig.answers() == [(200, b"abc")]
    assert rig.pool.idle_count == 1
    rig = Rig(answer=lambda _request: b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n")
    rig.send(GET + b"\r\n")
    assert b"Content-Length: 20000\r\n" in rig.wire.out


def test_invalid_body_once_the_head_is_out() -> None:
    """The client's connection is aborted."""
    rig = Rig(answer=lambda _request: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    rig.send(GET + b"\r\n")
    rig.origins[0].wire.protocol.data_received(b"zz\r\n")
    assert rig.wire.closed == "abort"


def test_answer_split_at_every_byte() -> None:
    """The client gets the same message however the answer is cut."""
    for reply in (
        OK,
        b"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n",
    ):
        for at in range(1, len(reply)):
            rig = Rig(answer=lambda _request: None)
            rig.send(GET + b"\r\n")
            for part in (reply[:at], reply[at:]):
                rig.origins[0].wire.protocol.data_received(part)
            assert rig.answers() == [(200, b"ok" if reply is OK else b"abcde")]
            assert rig.pool.idle_count == 1


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH"])
def test_one_framing_field(method: bytes) -> None:
    """What may have a body says that it has none; a length is canonical; a chunked body stays one (invariant 3)."""
    rig = Rig()
    rig.send(method + b" /x HTTP/1.1\r\nHost: a\r\n\r\n")
    rig.send(method + b" /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3 \r\n\r\nabc")
    rig.send(method + b" /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    none, length, chunked = rig.forwarded()
    assert none.values(b"content-length") == [b"0"]
    assert length.values(b"content-length") == [b"3"]
    assert chunked.values(b"transfer-encoding") == [b"chunked"]
    assert chunked.values(b"content-length") == []


def test_body_is_kept_for_a_replay_while_it_is_small() -> None:
    """After a reset the whole request goes out again on another connection; a long body cannot."""
    for size, replayed in ((1000, True), (5000, False)):
        tried: list[Failure] = []

        def again(x: Exchange, failure: Failure, tried: list[Failure] = tried) -> None:
            from services.core.verdicts import PARKED
            from services.http1.runner import rewind

            tried.append(failure)
            return PARKED if rewind(x, 1) else None  # type: ignore[return-value]

        replies = [None, OK]
        rig = Rig(limits=Limits(replay_body_max=2000), answer=lambda _request: replies.pop(0), on_failure=again)
        rig.send(POST + b"Content-Length: %d\r\n\r\n" % size)
        for _ in range(size // 500):
            rig.send(b"x" * 500)
        rig.origins[0].wire.lose()
        rig.settle()
        assert [f.kind for f in tried] == ["upstream_reset"]
        assert rig.answers()[0][0] == (200 if replayed else 502)
        assert [r.body for r in rig.forwarded()] == [b"x" * size] * (2 if replayed else 1)


def test_answer_hook_discards() -> None:
    """An answer the hook will not have is dropped and its connection given back; the next try's answer goes on."""
    from services.http1.runner import rewind

    replies = [b"HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nbusy", OK]

    def hook(x: Exchange, head: UpstreamHead) -> bool:
        return not (head.status == 503 and rewind(x, 1))

    rig = Rig(answer=lambda _request: replies.pop(0), on_answer=hook)
    rig.send(GET + b"\r\n")
    assert rig.answers() == [(200, b"ok")]
    assert rig.pool.active == 0
    assert rig.heads == 1
