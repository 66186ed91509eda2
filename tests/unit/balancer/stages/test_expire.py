"""Deadlines from the hop before."""

from __future__ import annotations

from time import monotonic

import pytest

from services.balancer.stages.expire import EXPIRED, MALFORMED, expire
from tests.unit.balancer.fakes import Bench


async def test_the_shorter_deadline_wins() -> None:
    """The gateway's may shorten ours, never lengthen it; without either there is none."""
    bench = Bench(1)
    x = bench.exchange(x_request_timeout_ms=b"500")
    x.deadline = x.started + 30
    assert expire(x) is None
    assert x.deadline == x.started + 0.5
    x = bench.exchange(x_request_timeout_ms=b"60000")
    x.deadline = x.started + 30
    assert expire(x) is None
    assert x.deadline == x.started + 30
    x = bench.exchange(x_request_timeout_ms=b"500")
    assert expire(x) is None
    assert x.deadline == x.started + 0.5
    x = bench.exchange()
    assert expire(x) is None
    assert x.deadline == 0.0


async def test_too_late_costs_no_try() -> None:
    """Ten milliseconds or less left: 504 at once."""
    bench = Bench(1)
    assert expire(bench.exchange(x_request_timeout_ms=b"9")) is EXPIRED
    x = bench.exchange()
    x.deadline = monotonic() - 1
    assert expire(x) is EXPIRED


@pytest.mark.parametrize("value", [b"", b"0", b"-1", b"1.5", b"1e3", b"1234567", b"\xb2"])
async def test_malformed(value: bytes) -> None:
    """Not a number of milliseconds: 400."""
    assert expire(Bench(1).exchange(x_request_timeout_ms=value)) is MALFORMED
