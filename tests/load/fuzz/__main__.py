"""`python -m tests.load.fuzz --seed 1 --messages 200000 --seconds 900`: 0 if nothing was found, 1 with what was."""

from __future__ import annotations

import argparse
import sys

import uvloop

from tests.load.fuzz.run import Report, run
from tests.unit.http1.vectors import LONG, VECTORS


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load.fuzz", description="mutated messages through a gateway")
    parser.add_argument("--seed", type=int, default=1, help="the same seed sends the same messages")
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=900.0, help="no longer than this")
    asked = parser.parse_args(argv)
    seeds = tuple(vector.data for vector in (*VECTORS, *LONG))
    report = uvloop.run(run(asked.seed, asked.messages, asked.seconds, seeds))
    print(text(asked.seed, report))
    return 0 if report.sound else 1


def text(seed: int, report: Report) -> str:
    """The figures, and the faults."""
    memory = report.rss_kib or [0]
    lines = [
        f"seed {seed}: {report.messages} messages in {report.seconds:.0f} s, {report.messages / max(report.seconds, 0.001):.0f}/s",
        f"forwarded {report.forwarded} requests; answers {dict(sorted(report.statuses.items()))}",
        f"memory: {memory[len(memory) // 5]} KiB at a fifth, {memory[-1]} KiB at the end, {'flat' if report.flat else 'GROWS'}",
        f"process: {'alive, no traceback' if report.alive else 'DEAD, or with a traceback'}",
        f"faults: {len(report.faults)}",
    ]
    return "\n".join([*lines, *report.faults])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
