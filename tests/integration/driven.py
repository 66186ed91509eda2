"""Vectors through a real gateway, many at once and in step: each part of each is a read of its own there (tests/harness/wire.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from tests.harness.edge import Edge
from tests.harness.recorder import Request, Script
from tests.harness.wait import eventually
from tests.harness.wire import LOOK_S, Wire, addresses
from tests.unit.http1.replies import CUT, SECRET, Reply
from tests.unit.http1.vectors import HOST, Vector

TOGETHER: Final = 200  # connections at once: a gateway has 256 to one balancer
BYTEWISE_TOGETHER: Final = 60
# In how long a message of many parts leaves: a head has 5 s. On a busy machine some parts share a read.
STEPS_S: Final = 3.5
REPLY_S: Final = 8.0  # and an answer of many parts
# Behind what keeps its connection: the two sides are still in step.
ASKED: Final = b"GET /asked HTTP/1.1\r\n" + HOST + b"\r\n"
WHOLLY: Final = 300  # a longer one is split at its ends and some places between; without sockets it is split everywhere
EDGES: Final = (4096, 8192, 8194, 16384, 32768, 65536)


def bytewise(data: bytes) -> list[bytes]:
    """A byte per packet; of a long one larger packets between its ends."""
    if len(data) <= WHOLLY:
        return [data[at : at + 1] for at in range(len(data))]
    start, end = data[:90], data[-40:]
    step = len(data) // 60 + 1
    middle = [data[at : min(at + step, len(data) - 40)] for at in range(90, len(data) - 40, step)]
    return [*bytewise(start), *middle, *bytewise(end)]


def offsets(data: bytes) -> list[int]:
    """Where to split: everywhere; of a long one at its ends and some places between."""
    end = len(data)
    if end <= WHOLLY:
        return list(range(1, end))
    return sorted(
        {*range(1, 90, 4), *range(90, end, end // 16), *range(end - 12, end), *(at for at in EDGES if at < end)}
    )


@dataclass(slots=True)
class Run:
    """One vector in one cut, and what came of it."""

    vector: Vector
    parts: list[bytes]
    wire: Wire
    whole: list[Request] = field(default_factory=list)
    begun: int = 0

    async def end(self) -> None:
        vector = self.vector
        await self.wire.until(len(vector.answers), closes=vector.closes)
        if not vector.closes:
            self.wire.send(ASKED)
            await self.wire.until(len(vector.answers) + 1, closes=False)

    def wrong(self) -> str:
        """What is not as the vector says; empty: nothing."""
        vector, wire = self.vector, self.wire
        expected = vector.answers if vector.closes else (*vector.answers, 200)
        found = tuple(status for status, _ in wire.answers if status >= 200)
        if wire.broken or wire.reset or found != expected or wire.ended != vector.closes:
            return f"answers {found}, ended {wire.ended}, reset {wire.reset}, broken {wire.broken}"
        asked = self.whole[:-1] if not vector.closes else self.whole
        if len(asked) != vector.forwarded or (self.begun and not vector.spoilt):
            return f"the upstream got {len(asked)} whole requests and {self.begun} others"
        numbers = [int(body) for status, body in wire.answers if status == 200]
        if numbers != [request.number for request in self.whole]:
            return f"answers {numbers} to {[request.number for request in self.whole]}"
        raw = b"".join(request.raw for request in asked).lower()
        missing = [part for part in vector.sees if part.lower() not in raw]
        extra = [part for part in vector.hides if part.lower() in raw]
        return f"the upstream got {raw!r}" if missing or extra else ""


class Driver:
    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.taken = edge.taken()
        self.addresses = addresses()

    async def run(self, cuts: Iterable[tuple[Vector, list[bytes]]], together: int = TOGETHER) -> list[str]:
        """Every vector in every cut; what went wrong."""
        found: list[str] = []
        cuts = iter(cuts)
        while batch := list(islice(cuts, together)):
            runs = [Run(vector, parts, Wire(next(self.addresses))) for vector, parts in batch]
            await self._batch(runs)
            for run in runs:
                wrong = run.wrong()
                if wrong:
                    found.append(f"{run.vector.name} in {len(run.parts)} parts, first {run.parts[0][-40:]!r}: {wrong}")
        return found + self.edge.recorder.faults

    async def _batch(self, runs: list[Run]) -> None:
        port, taken = self.edge.gateway.port, self.taken
        await asyncio.gather(*(run.wire.open(port) for run in runs))
        loop = asyncio.get_running_loop()
        steps, began = max(len(run.parts) for run in runs), loop.time()
        for step in range(steps):
            for run in runs:
                if step < len(run.parts):
                    run.wire.send(run.parts[step])
            if step + 1 < steps:
                await taken.wait(STEPS_S * (step + 1) / (steps - 1) - (loop.time() - began))
        await asyncio.gather(*(run.end() for run in runs))
        for run in runs:
            run.wire.close()
        await taken.wait()
        for run in runs:
            run.whole, run.begun = self.edge.recorder.forget(run.wire.source)

    async def run_replies(self, cuts: Iterable[tuple[Reply, list[bytes]]]) -> list[str]:
        """Every answer in every cut: what the client got that it should not."""
        found: list[str] = []
        cuts = iter(cuts)
        while batch := list(islice(cuts, TOGETHER)):
            found += await self._replies(batch)
        self.edge.recorder.script = lambda _request: None
        return found + self.edge.recorder.faults

    async def _replies(self, batch: list[tuple[Reply, list[bytes]]]) -> list[str]:
        recorder, port = self.edge.recorder, self.edge.gateway.port
        recorder.script = lambda request: _script(batch, request)
        wires = [Wire(next(self.addresses)) for _ in batch]
        await asyncio.gather(*(wire.open(port) for wire in wires))
        for number, (wire, (reply, _)) in enumerate(zip(wires, batch, strict=True)):
            body = b"" if reply.method == b"GET" else b"Content-Length: 1\r\n"
            wire.send(
                b"%b /reply?%d HTTP/1.1\r\n%b%b\r\n%b" % (reply.method, number, HOST, body, b"b" if body else b"")
            )
        waiting = len(batch)
        await eventually(
            lambda: sum(bool(carried.parts) for carried in recorder.open) == waiting,
            10,
            "every request is upstream",
            LOOK_S,
        )
        each_s = REPLY_S / max(len(parts) for _, parts in batch)
        while recorder.go_on():
            await self.taken.wait(each_s)
        await asyncio.gather(
            *(wire.until(1 + len(reply.interims), closes=False) for wire, (reply, _) in zip(wires, batch, strict=True))
        )
        wrong = [
            f"{reply.name} in {len(parts)} parts: {said}"
            for wire, (reply, parts) in zip(wires, batch, strict=True)
            if (said := _judge(reply, wire))
        ]
        for wire in wires:
            if not wire.ended:
                wire.send(ASKED)
        await asyncio.gather(
            *(wire.until(2 + len(reply.interims), closes=False) for wire, (reply, _) in zip(wires, batch, strict=True))
        )
        for wire, (reply, parts) in zip(wires, batch, strict=True):
            if not wire.ended and wire.answers[-1:] != [(200, b"asked")]:
                wrong.append(
                    f"{reply.name} in {len(parts)} parts: the next answer is {wire.answers[-1:]}, {wire.broken}"
                )
            wire.close()
            recorder.forget(wire.source)
        return wrong


def _script(batch: list[tuple[Reply, list[bytes]]], request: Request) -> Script:
    place, _, number = request.target.partition(b"?")
    if place != b"/reply":
        return Script([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nasked"])
    reply, parts = batch[int(number)]
    return Script([b"", *parts], reply.end)  # nothing, until all the requests are there


def _judge(reply: Reply, wire: Wire) -> str:
    """What the client should not have got."""
    statuses = [status for status, _ in wire.answers]
    interims, final = (
        tuple(status for status in statuses if status < 200),
        [answer for answer in wire.answers if answer[0] >= 200],
    )
    said = f"{statuses}, ended {wire.ended}, reset {wire.reset}, {wire.broken}, {final[-1:]!r}"
    if wire.ended and wire.whole <= len(interims):
        return "" if CUT in reply.outcomes else said
    if len(final) != 1 or final[0][0] not in reply.outcomes or interims != reply.interims:
        return said
    head = wire.heads[-1]
    lines = all(head.get(name) == value for name, value in reply.lines)
    clean = not any(SECRET in value for value in head.values())
    right = final[0] == (502, final[0][1]) or final[0][1] == reply.body
    return "" if lines and clean and right and b"x-api-load" not in head else f"{said} {head}"
