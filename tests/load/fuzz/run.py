"""Mutated messages through a real gateway to a recording upstream, many connections at once.

What must hold for every message, whatever it is: two parsers agree on what reached the upstream, and on where it ends
(recorder.py); every request that became whole there is answered to the client it came from, in order, by the number it
got there; no answer follows one that closes; the connection ends once its client has ended it; no 5xx but "not
implemented" and "version". The process lives, logs no traceback, and its memory does not grow.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from random import Random
from typing import Final

from tests.harness.edge import Edge
from tests.harness.wire import Wire, addresses
from tests.load.fuzz.mutate import cuts, message

TOGETHER: Final = 400
SOURCES: Final = 10  # addresses of a worker: a gateway remembers addresses, and that is no leak
PAUSE_S: Final = 0.002  # between two parts: mostly two reads
SAMPLE: Final = 200  # messages between two looks at the memory
ANSWER_S: Final = 10.0
FAULTS_MAX: Final = 20
ALLOWED: Final = (501, 505, 508)
GROWTH_MAX: Final = 0.15  # of the resident memory at a fifth of the way
GROWTH_MAX_KIB: Final = 12 * 1024  # … and an allocator's whims


@dataclass(slots=True)
class Report:
    """What `run` found. `faults`: each with the message that shows it."""

    messages: int = 0
    seconds: float = 0.0
    forwarded: int = 0
    faults: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    rss_kib: list[int] = field(default_factory=list)  # in turn
    alive: bool = False

    @property
    def flat(self) -> bool:
        """Memory: the last fifth of the run against the second one."""
        fifth = len(self.rss_kib) // 5
        if not fifth:
            return True
        early, late = max(self.rss_kib[fifth : 2 * fifth]), max(self.rss_kib[-fifth:])
        return late - early <= max(GROWTH_MAX * early, GROWTH_MAX_KIB)

    @property
    def sound(self) -> bool:
        return self.alive and self.flat and not self.faults


async def run(seed: int, messages: int, seconds: float, seeds: Sequence[bytes]) -> Report:
    """At most so many messages and so many seconds."""
    report = Report()
    began = time.monotonic()
    async with Edge() as edge:
        fuzz = Fuzz(edge, report, seed, seeds, range(messages), began + seconds)
        await asyncio.gather(*(fuzz.work(number) for number in range(TOGETHER)))
        report.faults += edge.recorder.faults
        report.alive = await edge.alive()
    report.seconds = time.monotonic() - began
    return report


class Fuzz:
    """`work` is one of many at once; each takes the next message. A message hangs on its number and the seed alone."""

    def __init__(
        self, edge: Edge, report: Report, seed: int, seeds: Sequence[bytes], numbers: Iterable[int], ends: float
    ) -> None:
        self._edge, self._report = edge, report
        self._seed, self._seeds = seed, seeds
        self._numbers, self._ends = iter(numbers), ends

    async def work(self, worker: int) -> None:
        """With addresses of its own, in turn."""
        sources = cycle(islice(addresses(), worker * SOURCES, (worker + 1) * SOURCES))
        while time.monotonic() < self._ends and len(self._report.faults) < FAULTS_MAX:
            number = next(self._numbers, None)
            if number is None:
                return
            random = Random(f"{self._seed} {number}")
            data = message(random, self._seeds)
            await self._one(data, cuts(random, data), Wire(next(sources)))

    async def _one(self, data: bytes, parts: list[bytes], wire: Wire) -> None:
        edge, report = self._edge, self._report
        edge.recorder.forget(wire.source)
        await wire.open(edge.gateway.port)
        for part in parts:
            wire.send(part)
            await asyncio.sleep(PAUSE_S)
        if not wire.ended:
            wire.transport.write_eof()  # what is whole is answered, then the connection ends
        for _ in range(2):  # a second look: after a stall of this process its timers come before its sockets
            await wire.until(1 << 30, closes=True, within_s=ANSWER_S / 2)
        wire.close()
        whole, begun = edge.recorder.forget(wire.source)
        wrong = _wrong(wire, [request.number for request in whole], begun)
        if wrong:
            report.faults.append(f"{wrong}: {data!r} in {[len(part) for part in parts]}")
        report.forwarded += len(whole)
        report.statuses.update(status for status, _ in wire.answers)
        report.messages += 1
        if report.messages % SAMPLE == 0:
            report.rss_kib.append(edge.rss_kib())


def _wrong(wire: Wire, numbers: list[int], begun: int) -> str:
    """What no message may bring about."""
    finals = [(status, body) for status, body in wire.answers if status >= 200]
    if wire.broken:
        return f"an answer that is none: {wire.broken}"
    if not wire.ended:
        return "the connection hangs"
    answered = [int(body) for status, body in finals if status == 200]
    if answered != numbers:
        return f"answers to {answered}, the upstream had {numbers}"
    if any(status >= 500 and status not in ALLOWED for status, _ in finals):
        return f"answers {[status for status, _ in finals]}"
    closing = [at for at, head in enumerate(wire.heads) if b"close" in head.get(b"connection", b"")]
    if closing and closing[0] != len(wire.answers) - 1:
        return f"answers {[status for status, _ in finals]}, not the last of which closes"
    if begun > 1:
        return f"{begun} requests began upstream and never ended"
    return ""
