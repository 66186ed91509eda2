"""A slice of the fuzzer (`python -m tests.load.fuzz`): nothing found in half a minute at most."""

from __future__ import annotations

import uvloop

from tests.load.fuzz.__main__ import text
from tests.load.fuzz.run import Report, run
from tests.unit.http1.vectors import LONG, VECTORS

SEED = 6
MESSAGES = 6_000
SECONDS = 15.0


def test_a_slice() -> None:
    """Mutated messages: both parsers agree on what got through, answers are in order, the process lives, memory is flat."""
    report = uvloop.run(run(SEED, MESSAGES, SECONDS, tuple(vector.data for vector in (*VECTORS, *LONG))))
    print(text(SEED, report))
    assert report.sound, text(SEED, report)
    assert report.messages > 100
    assert report.forwarded
    assert report.statuses[400]


def test_memory_that_grows_is_seen() -> None:
    """Flat is flat, with a step of an allocator; a line that climbs is not."""
    assert Report(rss_kib=[80_000] * 20 + [85_000] * 30).flat
    assert not Report(rss_kib=[80_000 + 1_000 * n for n in range(50)]).flat
