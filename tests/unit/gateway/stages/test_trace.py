from __future__ import annotations

import ipaddress
import re

import pytest

from services.gateway.clients import Clients
from services.gateway.stages.trace import Trace
from services.http1.exchange import Exchange
from services.runtime.tracing import limit_of
from tests.unit.gateway.doubles import exchange

TRUSTED = Clients((ipaddress.ip_network("10.0.0.0/8"),))
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def traced(*, restart: bool = False, peer: str = "192.0.2.7", **special: bytes) -> Exchange:
    x = exchange(peer=peer, **special)
    Trace(TRUSTED, restart=restart)(x)
    return x


def test_a_request_without_ids_gets_them():
    """Trace id, span id, and the trace id as request id; two requests differ."""
    one, two = traced(), traced()
    assert re.fullmatch(rb"[0-9a-f]{32}", one.trace_id)
    assert re.fullmatch(rb"[0-9a-f]{16}", one.span_id)
    assert one.request_id == one.trace_id != two.trace_id
    assert one.client.address == "192.0.2.7"


def test_old_fault_14d_request_ids():
    """64 harmless characters are kept; 65, odd bytes, an empty or repeated one are replaced and never echoed."""
    assert traced(x_request_id=b"a" * 64).request_id == b"a" * 64
    for bad in (b"a" * 65, b"", b"a b", b"a, b", b"<script>", b"a\x00"):
        x = traced(x_request_id=bad)
        assert x.request_id == x.trace_id


def test_a_valid_trace_is_continued():
    """Same trace id, a new parent id; the sampled flag only from a trusted peer."""
    x = traced(traceparent=PARENT, tracestate=b"a=1")
    assert x.trace_id == b"0af7651916cd43dd8448eb211c80319c"
    assert x.span_id != b"b7ad6b7169203331"
    assert not x.sampled
    assert x.special[b"tracestate"] == b"a=1"
    assert traced(peer="10.1.1.1", traceparent=PARENT).sampled


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01",
        b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        PARENT + b"-extra",
        PARENT.upper(),
        PARENT + b", " + PARENT,
    ],
)
def test_an_invalid_one_begins_a_new_trace(parent):
    """Out of form: a new trace id, and the state that belonged to the old one goes."""
    x = traced(traceparent=parent, tracestate=b"a=1")
    assert x.trace_id != b"0af7651916cd43dd8448eb211c80319c"
    assert b"tracestate" not in x.special


def test_restart_trusts_nobody():
    """TRACE_CONTEXT=restart begins a trace of its own."""
    assert traced(restart=True, traceparent=PARENT).trace_id != b"0af7651916cd43dd8448eb211c80319c"


def test_a_tracestate_out_of_bounds_is_dropped():
    """512 bytes and 32 entries at most; the trace goes on without it."""
    for state in (b"a" * 513, b"a=1," * 40):
        x = traced(traceparent=PARENT, tracestate=state)
        assert x.trace_id == b"0af7651916cd43dd8448eb211c80319c"
        assert b"tracestate" not in x.special


def test_who_decides_what_is_sampled():
    """A trusted caller's flag, else the share that is asked for, by ids of ours: a stranger's trace id decides nothing."""

    def sampled(sample: bytes, peer: str = "192.0.2.7", **special: bytes) -> bool:
        x = exchange(peer=peer, **special)
        Trace(TRUSTED, restart=False, sample=sample)(x)
        return x.sampled

    none, every = limit_of(0), limit_of(1)
    assert sampled(every)
    assert sampled(every, traceparent=PARENT)
    assert not sampled(every, "10.1.1.1", traceparent=PARENT[:-1] + b"0")
    assert sampled(none, "10.1.1.1", traceparent=PARENT)
    assert not sampled(none)
    lowest = b"00-" + b"1" * 16 + b"0" * 16 + b"-b7ad6b7169203331-01"
    assert [sampled(limit_of(2**-40), traceparent=lowest) for _ in range(50)] == [False] * 50
