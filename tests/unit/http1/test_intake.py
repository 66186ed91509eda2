"""What a client may send, whatever the bytes' split: the vectors of data-path 3.1, and the bounds on what is held."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.http1.limits import Limits
from tests.unit.http1.rig import Rig
from tests.unit.http1.vectors import GET, LONG, POST, VECTORS, Vector

SLOW = settings(max_examples=150, deadline=None)


def outcome(vector: Vector, parts: list[bytes]) -> tuple[tuple[int, ...], int, bool, list[tuple[bytes, bytes, bytes]]]:
    rig = Rig()
    for part in parts:
        rig.send(part)
    statuses = tuple(
        status for status, _ in rig.answers() if status >= 200
    )  # 100 Continue, if the body was not there yet
    got = [(r.method, r.target, r.body) for r in rig.forwarded() if r.whole]
    assert len(rig.finished) == rig.heads == len(statuses), "on_head and on_finish once per answer"
    return statuses, len(got), rig.wire.eof or bool(rig.wire.closed), got


def wanted(vector: Vector) -> tuple[tuple[int, ...], int, bool]:
    return vector.answers, vector.forwarded, vector.closes


@pytest.mark.parametrize("vector", (*VECTORS, *LONG), ids=lambda v: v.name)
def test_whole(vector: Vector) -> None:
    """Each vector in one read has its answers, reaches the upstream or does not, and closes or does not."""
    assert outcome(vector, [vector.data])[:3] == wanted(vector)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.name)
def test_split_at_every_byte(vector: Vector) -> None:
    """A split anywhere changes nothing: statuses, forwarded requests, closing."""
    whole = outcome(vector, [vector.data])
    for at in range(1, len(vector.data)):
        assert outcome(vector, [vector.data[:at], vector.data[at:]]) == whole, at


@pytest.mark.parametrize("vector", (*VECTORS, *LONG), ids=lambda v: v.name)
def test_byte_by_byte(vector: Vector) -> None:
    """One byte per read changes nothing."""
    assert outcome(vector, [bytes((b,)) for b in vector.data])[:3] == wanted(vector)


@SLOW
@given(data=st.data(), vector=st.sampled_from((*VECTORS, *LONG)))
def test_any_split(data: st.DataObject, vector: Vector) -> None:
    """Any cut into reads changes nothing: exchanges, refusals, forwarded bytes (invariant 1)."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(vector.data) - 1), max_size=12)))
    parts = [vector.data[a:b] for a, b in zip([0, *cuts], [*cuts, len(vector.data)], strict=True)]
    assert outcome(vector, parts) == outcome(vector, [vector.data])


@SLOW
@given(
    st.lists(st.sampled_from((*VECTORS, *LONG)), min_size=1, max_size=6),
    st.lists(st.integers(1, 256_000), min_size=1, max_size=8),
    st.integers(1, 400),
    st.booleans(),
)
def test_what_is_held_is_bounded(mix: list[Vector], sizes: list[int], times: int, answered: bool) -> None:
    """Whatever comes, and however it is read: queue, held bytes, unfinished head and waiting bodies stay within their bounds (invariant 7)."""
    limits = Limits()
    rig = Rig(answer=lambda _request: b"HTTP/1.1 204 X\r\n\r\n" if answered else None)
    if not answered:
        rig.pool.connect = False  # nobody takes a body either
    data = b"".join(vector.data for vector in mix) * times
    data, at = data[:1_000_000], 0
    for size in sizes * 4:
        if at >= len(data) or rig.wire.closed or not rig.wire.reading:
            break
        read = data[at : at + size]
        at += size
        rig.send(read)
        c = rig.client
        assert len(c.queue or ()) <= limits.pipeline_max + 4096 // 18 + 1
        assert len(c.held or b"") <= len(read)
        assert len(c.raw) <= limits.head_max
        waiting = [x for x in (c.current, *(c.queue or ())) if x is not None]
        assert sum(len(piece) for x in waiting for piece in x.body) <= limits.pending_body_max * (
            1 + len(waiting)
        ) + len(read)


def test_queue_is_bounded() -> None:
    """10 000 pipelined requests: at most pipeline_max and one slice are parsed ahead, reading stops, all are answered in order."""
    gate: list[bool] = []
    rig = Rig(
        answer=lambda request: (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.target), request.target) if gate else None
        )
    )
    data = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(10_000))
    rig.send(data[:200_000])
    assert not rig.wire.reading
    assert len(rig.client.queue or ()) <= Limits().pipeline_max + 4096 // 27 + 1
    gate.append(True)
    rig.settle()
    assert rig.wire.reading
    rig.send(data[200_000:])
    assert [body for _, body in rig.answers()] == [b"/%d" % i for i in range(10_000)]


def test_body_of_a_waiting_request_is_bounded() -> None:
    """A body that nobody takes is read up to pending_body_max, then the client is paused; taken, all of it goes on."""
    rig = Rig(limits=Limits(pending_body_max=1000))
    rig.pool.connect = False
    rig.send(POST + b"Content-Length: 5000\r\n\r\n" + b"x" * 1500)
    assert not rig.wire.reading
    rig.pool.connect = True
    rig.pool._connect_more()
    rig.settle()
    assert rig.wire.reading
    rig.send(b"y" * 3500)
    assert rig.forwarded()[0].body == b"x" * 1500 + b"y" * 3500


def test_grown_body_is_refused() -> None:
    """A chunked body over the limit: 413, close, and the upstream request is never completed."""
    rig = Rig(limits=Limits(body_max=1000))
    rig.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(12):
        rig.send(b"64\r\n" + b"x" * 100 + b"\r\n")
    assert [status for status, _ in rig.answers()] == [413]
    assert not rig.forwarded()[0].whole
    assert rig.origins[0].wire.closed


def test_bad_chunk_under_way() -> None:
    """A body that goes wrong later aborts the upstream request; the client hears 400 (D6)."""
    rig = Rig()
    rig.send(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    rig.send(b"zz\r\n")
    assert [status for status, _ in rig.answers()] == [400]
    assert not rig.forwarded()[0].whole
    assert rig.origins[0].wire.closed == "abort"
    assert rig.server.bad_requests == {"parser": 1}


def test_trailers_are_dropped() -> None:
    """No trailer is forwarded or merged into the head (D7)."""
    rig = Rig()
    rig.send(
        POST
        + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nAuthorization: x\r\nX-Client-IP: 1.2.3.4\r\n\r\n"
        + GET
        + b"X-A: 1\r\n\r\n"
    )
    raw = b"".join(origin.raw for origin in rig.origins)
    assert b"1.2.3.4" not in raw
    assert b"X-A: 1" in raw
