"""Ids: adopted when they are well-formed, made when they are not."""

from __future__ import annotations

import pytest

from services.balancer.stages.trace import own_answer_lines, trace
from services.http1.exchange import Exchange
from tests.unit.balancer.fakes import Bench

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"


async def traced(**special: bytes) -> Exchange:
    x = Bench(1).exchange(**special)
    assert trace(x) is None
    return x


async def test_the_gateways_ids_are_adopted() -> None:
    """Request id and trace id go on, the parent id is new, the sampled flag is read."""
    x = await traced(x_request_id=b"req-1.A_b", traceparent=b"00-%b-00f067aa0ba902b7-01" % TRACE)
    assert (x.request_id, x.trace_id, x.sampled) == (b"req-1.A_b", TRACE, True)
    assert len(x.span_id) == 16
    assert x.span_id != b"00f067aa0ba902b7"


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"00-%b-0000000000000000-01" % TRACE,
        b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        b"01-%b-00f067aa0ba902b7-01" % TRACE,
        b"00-%b-00f067aa0ba902b7" % TRACE.upper(),
    ],
)
async def test_bad_trace_contexts_are_replaced(parent: bytes) -> None:
    """A new trace begins."""
    x = await traced(traceparent=parent)
    assert x.trace_id != TRACE
    assert len(x.trace_id) == 32
    assert not x.sampled


@pytest.mark.parametrize("name", [b"", b"a" * 65, b"a b", b"a\xff", b"a, b"])
async def test_bad_request_ids_become_the_trace_id(name: bytes) -> None:
    """One id is enough when the client's is unusable."""
    x = await traced(x_request_id=name)
    assert x.request_id == x.trace_id


async def test_no_ids() -> None:
    """Every exchange has ids after this stage, and no two share them."""
    one, other = await traced(), await traced()
    assert one.request_id == one.trace_id != other.trace_id


def test_own_answers_name_the_instance() -> None:
    """X-Served-By is the process that refused."""
    before, after = own_answer_lines(b"lb-1")
    assert before + b"id" + after == b"X-Served-By: lb-1\r\nX-Request-ID: id\r\n"
