"""Answers: in order, framed for the client that asked, never complete when they are not, and what the connection does next."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.verdicts import PARKED, Answer, Outcome, Refusal
from services.http1 import runner, states
from services.http1.exchange import DONE, Exchange
from services.http1.limits import Deadlines
from tests.unit.http1.rig import OK, Answers, Got, Rig, answer_heads
from tests.unit.http1.vectors import GET, POST

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


def answering(reply: bytes) -> Rig:
    return Rig(answer=lambda _request: reply)


def test_two_set_cookie_lines_stay_two() -> None:
    """Old fault 10h: repeated fields pass one by one, in order, byte for byte."""
    rig = answering(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n")
    rig.send(GET + b"\r\n")
    assert answer_heads(rig.wire.out)[0][b"set-cookie"] == [b"a=1; Path=/", b"b=2"]


def test_head_and_body_leave_in_one_write() -> None:
    """The head is joined with the body bytes that are there."""
    writes: list[bytes] = []
    rig = Rig()
    rig.wire.write = writes.append  # type: ignore[method-assign,assignment]
    rig.send(GET + b"\r\n")
    assert len(writes) == 1
    assert writes[0].endswith(b"\r\n\r\nok")


def test_what_is_taken_from_an_answer() -> None:
    """Hop-by-hop fields, what Connection names, Server, Alt-Svc and X-Api-Load are gone; Date is added, other fields stay (U7)."""
    rig = answering(
        b"HTTP/1.1 200 Fine\r\nConnection: close, X-Own\r\nKeep-Alive: timeout=5\r\nX-Own: 1\r\nServer: s\r\nAlt-Svc: h3\r\n"
        b"X-Api-Load: 7\r\nX-Kept: yes\r\nContent-Length: 2\r\n\r\nok"
    )
    rig.send(GET + b"\r\n")
    assert rig.wire.out == b"HTTP/1.1 200 OK\r\nX-Kept: yes\r\nContent-Length: 2\r\nDate: today\r\n\r\nok"
    head = rig.exchanges[0].head
    assert head is not None
    assert head.special[b"x-api-load"] == b"7"


@pytest.mark.parametrize("status", [204, 304])
def test_no_body_after_204_and_304(status: int) -> None:
    """Whatever came behind the head is dropped with its connection; Content-Length stays on 304, goes on 204; the next answer is right."""
    replies = [b"HTTP/1.1 %d X\r\nContent-Length: 3\r\n\r\nabc" % status, OK]
    rig = Rig(answer=lambda _request: replies.pop(0))
    rig.send((GET + b"\r\n") * 2)
    head = answer_heads(rig.wire.out)[0]
    assert head.get(b"content-length", []) == ([b"3"] if status == 304 else [])
    assert rig.answers() == [(status, b""), (200, b"ok")]
    assert len(rig.origins) == 2
    assert rig.origins[0].wire.closed


@pytest.mark.parametrize("rest", [b"", b"abc"])
def test_head_request(rest: bytes) -> None:
    """The head is the message, with its Content-Length; a body that comes all the same is dropped with its connection."""
    replies = [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + rest, OK]
    rig = Rig(answer=lambda _request: replies.pop(0))
    rig.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert rig.wire.out.endswith(b"Content-Length: 3\r\nDate: today\r\n\r\n")
    rig.wire.out = b""
    rig.send(GET + b"\r\n")
    assert rig.answers() == [(200, b"ok")]
    assert len(rig.origins) == (2 if rest else 1)


def test_own_answer_to_head_has_no_body() -> None:
    """A refusal of a HEAD says how long it would be and ends there."""
    rig = Rig(stages=(lambda _x: Refusal("not-found", "x"),))
    rig.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert rig.wire.out.endswith(b"\r\n\r\n")
    assert b"Content-Length: " in rig.wire.out


def test_chunked_to_11_and_10() -> None:
    """A chunked answer is chunked for HTTP/1.1, undone and framed by close for HTTP/1.0, keep-alive or not."""
    rig = answering(CHUNKED)
    rig.send(GET + b"\r\n")
    assert rig.wire.out.endswith(b"Transfer-Encoding: chunked\r\nDate: today\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    rig = answering(CHUNKED)
    rig.send(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert rig.wire.out.endswith(b"Connection: close\r\n\r\nabc")
    assert rig.wire.eof


def test_keep_alive_is_confirmed_to_10() -> None:
    """HTTP/1.0 keep-alive holds when the answer has a length, and is confirmed."""
    rig = Rig()
    rig.send(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"Connection: keep-alive\r\n" in rig.wire.out
    assert not rig.wire.eof
    assert rig.forwarded()[0].values(b"host") == [b"localhost"]


def test_close_framed_answer() -> None:
    """Framed by close: to HTTP/1.1 as chunked, complete only when the end was clean."""
    rig = answering(b"HTTP/1.1 200 OK\r\n\r\nabc")
    rig.send(GET + b"\r\n")
    assert rig.wire.out.endswith(b"3\r\nabc\r\n")
    rig.origins[0].wire.protocol.eof_received()
    assert rig.wire.out.endswith(b"0\r\n\r\n")
    rig = answering(b"HTTP/1.1 200 OK\r\n\r\nabc")
    rig.send(GET + b"\r\n")
    rig.origins[0].wire.lose()
    assert rig.wire.closed == "abort"
    assert not rig.wire.out.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("head", [b"Content-Length: 20000\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("clean", [True, False])
def test_truncated_answer_never_looks_complete(head: bytes, clean: bool) -> None:
    """An answer that ends early aborts the client's connection (invariant 6)."""
    rig = answering(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + (b"abc" if b"Length" in head else b"3\r\nabc\r\n"))
    rig.send(GET + b"\r\n")
    protocol = rig.origins[0].wire.protocol
    protocol.eof_received() if clean else protocol.connection_lost(ConnectionResetError())
    assert rig.wire.closed == "abort"
    assert not rig.wire.out.endswith(b"0\r\n\r\n")
    assert [x.reason for x in rig.finished] == ["cut"]


KINDS = {
    "get": (GET + b"\r\n", 200, False),
    "post": (POST + b"Content-Length: 3\r\n\r\nabc", 200, False),
    "star": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 204, False),
    "tea": (GET + b"Expect: tea\r\n\r\n", 417, False),
    "bad": (GET + b"X : y\r\n\r\n", 400, True),
    "close": (GET + b"Connection: close\r\n\r\n", 200, True),
    "large": (POST + b"Content-Length: 99999999\r\n\r\nx", 413, True),
    "old": (b"GET /x HTTP/1.0\r\n\r\n", 200, True),
}


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=40),
    st.lists(st.integers(1, 400), min_size=1, max_size=6),
    st.data(),
)
def test_one_answer_each_in_order(kinds: list[str], sizes: list[int], data: st.DataObject) -> None:
    """Answers leave in request order, one each, none after a close, whenever the upstream answers (invariant 4)."""
    gate = [True]
    rig = Rig(
        answer=lambda request: (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.target), request.target)
            if gate[0]
            else None
        )
    )
    sent = [KINDS[kind][0].replace(b"/x", b"/%d" % number) for number, kind in enumerate(kinds)]
    stream, at = b"".join(sent), 0
    while at < len(stream):
        gate[0] = data.draw(st.booleans())
        size = sizes[at % len(sizes)]
        rig.send(stream[at : at + size])
        at += size
    gate[0] = True
    rig.settle()
    last = next((number for number, kind in enumerate(kinds) if KINDS[kind][2]), len(kinds) - 1)
    answers = rig.answers()
    assert [status for status, _ in answers] == [KINDS[kind][1] for kind in kinds[: last + 1]]
    assert [body for status, body in answers if status == 200] == [
        b"/%d" % number for number, kind in enumerate(kinds[: last + 1]) if KINDS[kind][1] == 200
    ]
    assert rig.wire.eof == KINDS[kinds[last]][2]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.binary(min_size=1, max_size=8000), max_size=5),
    st.sampled_from(["length", "chunked", "close"]),
    st.lists(st.integers(1, 20_000), min_size=1, max_size=5),
    st.one_of(st.none(), st.floats(0, 1)),
    st.booleans(),
)
def test_body_out_is_body_in(
    pieces: list[bytes], framing: str, sizes: list[int], cut: float | None, clean: bool
) -> None:
    """The client has the upstream's body, byte for byte, or its connection was aborted, or it was told 502 (invariant 6)."""
    body = b"".join(pieces)
    if framing == "length":
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    elif framing == "chunked":
        reply = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces)
            + b"0\r\n\r\n"
        )
    else:
        reply = b"HTTP/1.1 200 OK\r\n\r\n" + body
    head = reply.index(b"\r\n\r\n") + 4
    came = reply if cut is None else reply[: int(cut * len(reply))]
    rig = Rig(answer=lambda _request: None)
    rig.send(GET + b"\r\n")
    upstream, at = rig.origins[0].wire.protocol, 0
    while at < len(came):
        size = sizes[at % len(sizes)]
        upstream.data_received(came[at : at + size])
        at += size
    if len(came) < len(reply) or framing == "close":
        upstream.eof_received() if clean else upstream.connection_lost(ConnectionResetError())
    reader = Answers()
    if rig.wire.out:
        reader.parser.feed_data(rig.wire.out)
    whole = framing == "close" and clean and len(came) >= head
    if whole or (len(came) == len(reply) and framing != "close"):
        assert reader.found == [(200, came[head:] if framing == "close" else body)]
        assert reader.whole == 1
        assert not rig.wire.closed
    elif [status for status, _ in reader.found] == [502]:
        assert reader.whole == 1
    else:
        assert rig.wire.closed == "abort"
        assert reader.whole == 0
        assert body.startswith(b"".join(found for _, found in reader.found))


def test_answers_leave_in_request_order() -> None:
    """A refusal behind a slow answer waits for it (invariant 4)."""
    gate: list[bytes] = []
    rig = Rig(answer=lambda _request: gate.pop() if gate else None)
    rig.send(GET + b"\r\n" + GET + b"X : y\r\n\r\n")
    assert rig.wire.out == b""
    gate.append(OK)
    rig.settle()
    assert [status for status, _ in rig.answers()] == [200, 400]


def test_interim_answers() -> None:
    """100 is dropped, 102 and 103 go on to HTTP/1.1 clients only."""
    replies = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK
    rig = answering(replies)
    rig.send(GET + b"\r\n")
    assert rig.wire.out.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK")
    rig = answering(replies)
    rig.send(b"GET /x HTTP/1.0\r\n\r\n")
    assert rig.wire.out.startswith(b"HTTP/1.1 200 OK")


def test_expect_100_continue() -> None:
    """100 once every stage has passed and an upstream is there; then the body; Expect is not forwarded (D18)."""
    rig = Rig()
    rig.send(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert rig.wire.out == b"HTTP/1.1 100 Continue\r\n\r\n"
    rig.send(b"abc")
    assert rig.forwarded()[0].body == b"abc"
    assert rig.forwarded()[0].values(b"expect") == []


def test_no_100_if_the_body_is_here() -> None:
    """Who sent the body did not wait."""
    rig = Rig()
    rig.send(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
    assert rig.wire.out.startswith(b"HTTP/1.1 200")


def test_refused_expectation_closes() -> None:
    """A final status instead of 100 closes: nobody knows whether the body follows."""
    rig = Rig(stages=(lambda _x: Refusal("not-found", "x"),))
    rig.send(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert rig.wire.out.startswith(b"HTTP/1.1 404")
    assert b"Connection: close\r\n" in rig.wire.out
    assert rig.wire.eof


@pytest.mark.parametrize(("length", "keeps"), [(1000, True), (100_000, False)])
def test_refusal_with_an_unread_body(length: int, keeps: bool) -> None:
    """A short body of known length is read and dropped and the connection kept; a longer one costs it."""
    rig = Rig(stages=(lambda x: Refusal("not-found", "x") if x.method == b"POST" else None,))
    rig.send(POST + b"Content-Length: %d\r\n\r\n" % length)
    assert rig.wire.eof is not keeps
    if keeps:
        assert rig.client.state == states.ANSWERED
        rig.send(b"x" * length + GET + b"\r\n")
        assert [status for status, _ in rig.answers()] == [404, 200]


def test_early_answer() -> None:
    """An answer before the request's end goes on at once, the rest is dropped, the upstream connection is not used again (U4)."""
    rig = Rig()
    rig.send(POST + b"Content-Length: 10\r\n\r\nabc")
    rig.origins[0].wire.protocol.data_received(OK)
    rig.settle()
    assert rig.answers() == [(200, b"ok")]
    assert rig.origins[0].wire.closed
    rig.send(b"defghij" + GET + b"\r\n")
    assert len(rig.answers()) == 2
    assert rig.client.state == states.IDLE


def test_early_answer_with_an_endless_request() -> None:
    """What is dropped behind an early answer is bounded."""
    rig = Rig()
    rig.send(POST + b"Content-Length: 1000000\r\n\r\nabc")
    rig.origins[0].wire.protocol.data_received(OK)
    for _ in range(5):
        rig.send(b"x" * 16384)
    assert rig.client.state == states.CLOSING


def test_half_closed_client_is_answered() -> None:
    """EOF behind a whole request: it is answered, then closed; inside one: the upstream is aborted (D26)."""
    gate: list[bytes] = []
    rig = Rig(answer=lambda _request: gate.pop() if gate else None)
    rig.send(GET + b"\r\n")
    rig.client.eof_received()
    gate.append(OK)
    rig.settle()
    assert rig.answers() == [(200, b"ok")]
    assert rig.wire.closed == "close"
    rig = Rig()
    rig.send(POST + b"Content-Length: 5\r\n\r\nabc")
    rig.client.eof_received()
    assert rig.origins[0].wire.closed == "abort"
    assert rig.wire.closed
    assert [x.reason for x in rig.finished] == ["client-gone"]


@pytest.mark.parametrize("where", range(1, len(GET) + 3))
def test_reset_anywhere(where: int) -> None:
    """A reset at any byte leaves nothing in flight (D26)."""
    rig = Rig(answer=lambda _request: None)
    rig.send((GET + b"\r\n")[:where])
    rig.client.connection_lost(ConnectionResetError())
    assert rig.pool.active == 0
    assert len(rig.finished) == len(rig.exchanges)
    assert all(x.state == DONE for x in rig.exchanges)
    assert all(origin.wire.closed for origin in rig.origins)


def test_reset_with_a_queue() -> None:
    """Queued requests whose turn never came are dropped without hooks; the running one is finished once."""
    rig = Rig(answer=lambda _request: None)
    rig.send((GET + b"\r\n") * 5)
    rig.client.connection_lost(None)
    assert len(rig.exchanges) == len(rig.finished) == 1
    assert rig.server.client_aborts == 1


def test_backpressure_of_the_answer() -> None:
    """A client that reads nothing stops the upstream; when it reads again all of it arrives."""
    rig = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"a" * 100_000)
    rig.wire.stuck = True
    rig.send(GET + b"\r\n")
    assert not rig.origins[0].wire.reading
    rig.wire.unstick()
    assert rig.origins[0].wire.reading
    rig.origins[0].wire.protocol.data_received(b"b" * 200_000)
    assert rig.answers() == [(200, b"a" * 100_000 + b"b" * 200_000)]


def test_backpressure_of_the_request() -> None:
    """An upstream that reads nothing stops the client; when it reads again all of it arrives, and the connection lives on."""
    rig = Rig()
    rig.send(POST + b"Content-Length: 200000\r\n\r\n")
    wire = rig.origins[0].wire
    wire.stuck = True
    rig.send(b"x" * 100_000)
    assert not rig.wire.reading
    wire.unstick()
    assert rig.wire.reading
    rig.send(b"y" * 100_000)
    assert rig.forwarded()[0].body == b"x" * 100_000 + b"y" * 100_000
    rig.send(GET + b"\r\n")
    assert len(rig.answers()) == 2


def test_answer_while_the_request_is_stopped() -> None:
    """An early answer from an upstream that stopped reading: the client is read again, not stuck for ever."""
    rig = Rig()
    rig.send(POST + b"Content-Length: 150000\r\n\r\n")
    rig.origins[0].wire.stuck = True
    rig.send(b"x" * 100_000)
    assert not rig.wire.reading
    rig.origins[0].wire.protocol.data_received(OK)
    assert rig.wire.reading
    rig.send(b"y" * 50_000 + GET + b"\r\n")
    assert len(rig.answers()) == 2


def test_drain_closes_after_the_answer() -> None:
    """While draining every answer carries Connection: close."""
    rig = Rig()
    rig.server.drain(on=True)
    rig.client.aged = True
    rig.send(GET + b"\r\n")
    assert b"Connection: close\r\n" in rig.wire.out
    assert rig.client.state == states.CLOSING


def test_lingering_close_is_bounded() -> None:
    """Behind the last answer up to 64 KiB and 1 s are read and dropped, so that no reset eats it; then it is over."""
    rig = Rig()
    rig.send(GET + b"Connection: close\r\n\r\n")
    assert rig.wire.eof
    rig.send(b"x" * 60_000)
    assert not rig.wire.closed
    rig.send(b"x" * 10_000)
    assert rig.wire.closed
    rig = Rig()
    rig.send(GET + b"Connection: close\r\n\r\n")
    rig.tick(Deadlines().linger_s + 0.1)
    assert rig.wire.closed


def test_answer_of_a_stage() -> None:
    """A stage may answer: its lines, the hooks', one Content-Length."""
    rig = Rig(stages=(lambda _x: Answer(200, (b"X-Own: 1\r\n",), b"hi"),))
    rig.send(GET + b"\r\n")
    assert rig.wire.out == b"HTTP/1.1 200 OK\r\nX-Own: 1\r\nDate: today\r\nContent-Length: 2\r\n\r\nhi"


def test_resumed_later() -> None:
    """A parked exchange goes on when it is resumed; a stale ticket changes nothing (invariant 9)."""
    parked: list[tuple[Exchange, int]] = []

    def park(x: Exchange) -> Outcome:
        parked.append((x, x.ticket))
        return PARKED

    rig = Rig(stages=(park,))
    rig.send(GET + b"\r\n")
    x, ticket = parked[0]
    runner.resume(x, ticket - 1, Refusal("not-found", "stale"))
    assert rig.wire.out == b""
    runner.resume(x, ticket)
    rig.settle()
    runner.resume(x, ticket, Refusal("not-found", "stale"))
    assert rig.answers() == [(200, b"ok")]


def test_binary_bodies_both_ways() -> None:
    """Every byte value passes unchanged, however the body is framed."""
    body = bytes(range(256)) * 40

    def echo(request: Got) -> bytes:
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
            len(request.body),
            request.body,
        )

    rig = Rig(answer=echo)
    rig.send(POST + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    rig.send(POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    assert rig.answers() == [(200, body)] * 2
    reader = Answers()
    reader.parser.feed_data(rig.wire.out)
    assert reader.whole == 2
