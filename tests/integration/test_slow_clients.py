"""Slow clients of each kind against the engine as a process: cut at their deadline, whatever they hold; nobody else is hurt. At its real
size: `python -m tests.load.slow_clients`.
"""

from __future__ import annotations

import pytest

from tests.load.slow_clients import DEADLINES, LATE_S, engine, good, measure, ms

COUNT = 300  # more than the 256 connections to the upstream: who could hold one each would hold them all


@pytest.mark.parametrize("kind", DEADLINES)
async def test_slow_clients(kind: str) -> None:
    """All are cut within a second of their deadline, none before it; of the good clients' requests none fails, half take no longer than a
    moment more than without them (what the slowest of a hundred takes is the machine's, on two cores that a herd shares).
    """
    async with engine() as port:
        base = await good(port, 3)
        cut, report = await measure(kind, port, COUNT)
    print(f"{cut}; good: {report}; p50 {ms(base, 0.5)} -> {ms(report, 0.5)} ms, p99 {ms(base)} -> {ms(report)} ms")
    assert (cut.count, cut.late) == (COUNT, 0)
    assert DEADLINES[kind] - 0.1 <= cut.first_s <= cut.last_s <= DEADLINES[kind] + LATE_S
    assert (report.failed, report.unsent) == ([], 0)
    assert report.quantile(0.5) < base.quantile(0.5) + 0.1
