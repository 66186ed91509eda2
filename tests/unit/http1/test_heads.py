"""Names and lines of heads: what is taken, what passes, and that no line can be split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.http1 import heads
from services.http1.heads import ANSWER_NAMES, BALANCER_NAMES, GATEWAY_NAMES, Names, UpstreamHead, field
from tests.unit.http1.rig import Rig
from tests.unit.http1.vectors import GET

TAKEN_BY_ALL = (
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade expect content-length "
    b"host via x-request-id traceparent tracestate x-request-timeout-ms"
).split()
TAKEN_BY_GATEWAY = (
    b"authorization x-api-key cookie x-gateway-identity x-gateway-ratelimit x-gateway-class x-client-ip x-real-ip x-original-url x-rewrite-url "
    b"x-http-method-override proxy x-forwarded-for x-forwarded-proto x-forwarded-host forwarded"
).split()


@pytest.mark.parametrize("name", TAKEN_BY_ALL)
def test_taken_everywhere(name: bytes) -> None:
    """Row 1 and 2 of data-path 3.3 never pass a hop as they came."""
    for names in (GATEWAY_NAMES, BALANCER_NAMES):
        assert names.sort(name.title() + b": 1\r\n")[0] & heads.TAKEN


@pytest.mark.parametrize("name", TAKEN_BY_GATEWAY)
def test_taken_by_the_gateway(name: bytes) -> None:
    """Credentials, internal names and what could mislead the api end at the gateway; the balancer lets the gateway's own pass."""
    assert GATEWAY_NAMES.sort(name.upper() + b": 1\r\n")[0] & heads.TAKEN
    assert not BALANCER_NAMES.sort(name + b": 1\r\n")[0] & heads.TAKEN


@pytest.mark.parametrize("name", [b"server", b"alt-svc", b"x-api-load", b"connection", b"keep-alive"])
def test_taken_from_answers(name: bytes) -> None:
    """The last row of 3.3."""
    assert ANSWER_NAMES.sort(name + b": 1\r\n")[0] & heads.TAKEN


def test_forged_internal_fields_do_not_pass() -> None:
    """Whatever their case, nothing of the kind reaches the upstream; the field is there for a stage to see."""
    rig = Rig()
    rig.send(GET + b"x-GATEWAY-identity: v1.forged\r\nX-Client-IP: 6.6.6.6\r\nX-Other: 1\r\nProxy: x\r\n\r\n")
    raw = rig.origins[0].raw
    assert b"forged" not in raw
    assert b"6.6.6.6" not in raw
    assert b"X-Other: 1\r\n" in raw
    assert rig.exchanges[0].special[b"x-gateway-identity"] == b"v1.forged"


def test_connection_takes_what_it_names() -> None:
    """An ordinary field named there goes; a credential or an internal one cannot be stripped (D19)."""
    rig = Rig(names=BALANCER_NAMES)
    rig.send(
        GET
        + b"X-Own: 1\r\nX-Gateway-Identity: v1.x\r\nIf-Match: y\r\nConnection: x-own, X-Gateway-Identity, if-match, keep-alive\r\n\r\n"
    )
    got = rig.forwarded()[0]
    assert got.values(b"x-own") == []
    assert got.values(b"x-gateway-identity") == [b"v1.x"]
    assert got.values(b"if-match") == [b"y"]


def test_repeats_are_joined_and_seen_ones_pass_apart() -> None:
    """`special` holds the joined value; lines that pass stay as they came."""
    rig = Rig(names=GATEWAY_NAMES.also(seen=(b"accept",)))
    rig.send(GET + b"Accept: a\r\naccept: b \r\nVia: 1.0 x\r\nVia: 1.1 y\r\n\r\n")
    x = rig.exchanges[0]
    assert x.special[b"accept"] == b"a, b"
    assert x.special[b"via"] == b"1.0 x, 1.1 y"
    assert rig.forwarded()[0].values(b"accept") == [b"a", b"b "]


def test_memo_is_bounded() -> None:
    """Junk names cost their own time, not memory."""
    names = Names({b"x": heads.TAKEN}, refuse_underscore=True)
    for i in range(5000):
        names.sort(b"Name-%d: 1\r\n" % i)
    assert len(names.spelled) == heads.SPELLINGS_MAX
    assert names.sort(b"X: 1\r\n")[0] == heads.TAKEN


def test_known_lines_are_bounded_and_hold_no_credential() -> None:
    """Only lines of names that repeat are remembered, up to a bound; no credential, no long one; what is known is treated alike."""
    names = GATEWAY_NAMES.also()
    rig = Rig(names=names)
    secret = b"Authorization: Bearer secret\r\nX-API-Key: k\r\nX-Auth: 1\r\nSet-Cookie: a\r\n"
    rig.send(GET + secret + b"Accept: 1\r\nVia: 1.0 x\r\nUser-Agent: " + b"l" * 200 + b"\r\n\r\n")
    assert set(names.lines) == {b"Accept: 1\r\n", b"Host: a.example\r\n", b"Via: 1.0 x\r\n"}
    for i in range(heads.LINES_MAX + 10):
        names.sort(b"Accept: %d\r\n" % i)
    assert len(names.lines) <= heads.LINES_MAX
    for _ in range(2):
        rig.send(GET + b"Accept: 1\r\nAccept: 1\r\nVia: 1.0 x\r\nVia: 1.0 x\r\n\r\n")
        assert rig.forwarded()[-1].values(b"accept") == [b"1", b"1"]
        assert rig.exchanges[-1].special[b"via"] == b"1.0 x, 1.0 x"


def test_underscore() -> None:
    """Refused in requests, passed in answers."""
    assert GATEWAY_NAMES.sort(b"X_Client_IP: 1\r\n")[0] == heads.UNDERSCORE
    assert ANSWER_NAMES.sort(b"X_Any: 1\r\n") is heads.PASSES


@given(st.binary(max_size=8), st.binary(max_size=12))
def test_no_line_can_be_split(name: bytes, value: bytes) -> None:
    """`field` writes one line or raises."""
    try:
        line = field(name, value)
    except ValueError:
        return
    assert line.count(b"\r") == line.count(b"\n") == 1
    assert line.endswith(b"\r\n")
    assert b"\x00" not in line
    assert line.split(b":", 1)[0] == name


def test_status_lines() -> None:
    """Every status has a line of ours; the reason phrase of an upstream is never used."""
    assert heads.STATUS_LINES[200] == b"HTTP/1.1 200 OK\r\n"
    assert heads.STATUS_LINES[299] == b"HTTP/1.1 299 \r\n"


def test_drop_named() -> None:
    """What an answer's Connection names goes; framing fields and protected ones are not its to name."""
    head = UpstreamHead()
    head.special[b"connection"] = b"close, X-A, content-type"
    head.fields = [b"X-a: 1\r\n", b"X-AB: 2\r\n", b"Content-Type: t\r\n"]
    heads.drop_named(head)
    assert head.fields == [b"X-AB: 2\r\n", b"Content-Type: t\r\n"]
