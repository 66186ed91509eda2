"""What reaches the stages of a request, and what reaches the upstream: one request with the same method, target and body."""

from __future__ import annotations

import http.server
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from services.http1 import faults, heads
from services.http1.exchange import CHUNKED, LENGTH, NO_BODY
from services.http1.limits import Deadlines
from tests.unit.http1.rig import Rig
from tests.unit.http1.vectors import GET, POST

TOKEN = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-!#$%&'*+.^`|~", min_size=1, max_size=12)
VALUE = st.binary(max_size=20).map(lambda b: bytes(c for c in b if c == 9 or (c >= 32 and c != 127)))
PATH = st.lists(st.sampled_from([b"a", b"b.c", b"%c3%a9", b"%7e", b";x=y", b"0"]), max_size=4).map(
    lambda p: b"/" + b"/".join(p)
)
METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"])
SPECIAL = set(heads.GATEWAY_NAMES.kinds)


def test_what_the_stages_see() -> None:
    """Method, normal path, query, host, framing, length, keep-alive, deadline."""
    rig = Rig()
    rig.send(POST.replace(b"/x", b"/a/../b?c=d") + b"Content-Length: 3\r\n\r\nabc")
    x = rig.exchanges[0]
    assert (x.method, x.path, x.query, x.host, x.framing, x.length) == (
        b"POST",
        b"/b",
        b"?c=d",
        b"a.example",
        LENGTH,
        3,
    )
    assert x.keep_alive
    assert x.deadline == x.started + Deadlines().total_s
    rig.send(GET + b"\r\n")
    assert rig.exchanges[1].framing == NO_BODY
    rig.send(POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert rig.exchanges[2].framing == CHUNKED


def test_absolute_form_replaces_host() -> None:
    """RFC 9112 3.2.2: the target's authority is the host, upstream too; a malformed Host beside it is refused all the same."""
    rig = Rig()
    rig.send(b"GET http://b.example:81/y HTTP/1.1\r\nHost: a\r\n\r\n")
    assert rig.exchanges[0].host == b"b.example:81"
    assert rig.forwarded()[0].values(b"host") == [b"b.example:81"]
    rig = Rig()
    rig.send(b"GET http://b.example/y HTTP/1.1\r\nHost: a,b\r\n\r\n")
    assert rig.answers()[0][0] == 400


def test_strict_targets() -> None:
    """The balancer refuses what it would change."""
    rig = Rig(strict_targets=True)
    rig.send(b"GET /%41 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert rig.answers()[0][0] == 400
    rig = Rig(strict_targets=True)
    rig.send(b"GET /caf%C3%A9?x=%zz HTTP/1.1\r\nHost: a\r\n\r\n")
    assert rig.answers()[0][0] == 200


def test_bad_requests_are_counted_by_reason() -> None:
    """A metric label says what was wrong."""
    rig = Rig()
    rig.send(b"GET /x HTTP/1.1\r\n\r\n")
    assert rig.server.bad_requests == {"host": 1}
    assert rig.finished[0].reason == faults.HOST_MALFORMED.reason


def test_hosts_are_remembered_within_bounds() -> None:
    """A thousand authorities are kept; more only cost their check."""
    rig = Rig()
    for i in range(1100):
        rig.send(b"GET /x HTTP/1.1\r\nHost: h%d\r\n\r\n" % i)
    assert len(rig.server.hosts) == 1024
    assert len(rig.answers()) == 1100


def test_connect_with_a_path_is_no_request() -> None:
    """CONNECT asks for a tunnel whatever its target looks like; with a path for a target it was forwarded."""
    rig = Rig()
    rig.send(b"CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert rig.answers()[0][0] == 501
    assert rig.forwarded() == []


def test_what_is_answered_here_must_be_well_formed() -> None:
    """OPTIONS * without Host, or framed twice, is refused; it was answered 204."""
    for lines in (b"", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nX_Y: z\r\n"):
        rig = Rig()
        rig.send(b"OPTIONS * HTTP/1.1\r\n" + lines + b"\r\n")
        assert [status for status, _ in rig.answers()] == [400]
        assert rig.wire.eof


def test_an_unmet_expectation_closes() -> None:
    """A refused request with Expect and a body costs the connection, whether the body came with the head or not: the outcome hung on
    how the bytes were split.
    """
    for parts in ((b"abc",), (b"", b"abc"), (b"a", b"bc")):
        rig = Rig()
        rig.send_in(POST + b"Expect: tea\r\nContent-Length: 3\r\n\r\n" + parts[0], *parts[1:])
        assert [status for status, _ in rig.answers()] == [417]
        assert rig.wire.eof


class Parsed(http.server.BaseHTTPRequestHandler):
    """The standard library's reading of a head."""

    def __init__(self, raw: bytes) -> None:
        self.rfile = io.BytesIO(raw)
        self.raw_requestline = self.rfile.readline()
        self.client_address = ("", 0)
        assert self.parse_request()

    def send_error(self, code: int, *_: object) -> None:  # type: ignore[override]
        raise AssertionError(code)


@settings(deadline=None, max_examples=300)
@given(
    METHODS,
    PATH,
    st.lists(st.tuples(TOKEN, VALUE), max_size=8),
    st.one_of(st.none(), st.binary(max_size=60)),
    st.booleans(),
    st.integers(1, 40),
)
def test_forwarded_is_one_request(
    method: bytes, path: bytes, fields: list[tuple[str, bytes]], body: bytes | None, chunked: bool, size: int
) -> None:
    """Re-parsed by llhttp and by http.server it is one request, with the method, target and body that came, one Host, one framing,
    no consumed or foreign internal name, no CR or LF in a value (invariants 2 and 3).
    """
    lines = [b"%b: %b\r\n" % (name.encode(), value) for name, value in fields if name.lower().encode() not in SPECIAL]
    head = b"%b %b HTTP/1.1\r\nHost: a\r\nX-Client-IP: 9.9.9.9\r\nCookie: a=b\r\n" % (method, path) + b"".join(lines)
    if body is None:
        data = head + b"\r\n"
    elif chunked:
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        data = (
            head
            + b"Transfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces)
            + b"0\r\n\r\n"
        )
    else:
        data = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    rig = Rig()
    rig.send(data)
    (got,) = rig.forwarded()
    assert got.whole
    assert (got.method, got.target, got.body) == (method, rig.exchanges[0].path, body or b"")
    names = [name.lower() for name, _ in got.fields]
    assert names.count(b"host") == 1
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert not {b"x-client-ip", b"cookie", b"connection", b"te"} & set(names)
    assert all(b"_" not in name for name in names)
    assert not any(b"\r" in value or b"\n" in value for _, value in got.fields)
    again = Parsed(rig.origins[0].raw)
    assert (again.command.encode(), again.path.encode()) == (method, got.target)
