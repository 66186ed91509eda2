"""The engine with the smallest pipeline there is: what a hop costs before any policy. `python -m tests.load.plain_proxy PORT UPSTREAM… [NAME=NUMBER…]`, names
of `Limits` and `Deadlines`."""

from __future__ import annotations

import asyncio
import gc
import sys
from dataclasses import fields, replace
from random import random

import uvloop

from services.core.verdicts import PARKED, Outcome
from services.http1 import heads
from services.http1.exchange import Exchange
from services.http1.limits import Deadlines, Limits, connections_max
from services.http1.listener import HttpServer
from services.http1.pool import Pool
from services.http1.problems import ProblemWriter
from services.http1.runner import Pipeline
from services.runtime.descriptors import raised


class Forward:
    """Power of two choices over the given ports."""

    def __init__(self, ports: list[int]) -> None:
        self.pools = [Pool("127.0.0.1", port, Limits(), Deadlines()) for port in ports]

    def __call__(self, x: Exchange) -> Outcome:
        pools = self.pools
        first = pools[int(random() * len(pools))]
        other = pools[int(random() * len(pools))]
        pool = other if other.active < first.active else first
        pool.start(x, heads.request_head(x, (b"Via: 1.1 plain\r\n",)))
        return PARKED


def of(kind: type[Limits | Deadlines], convert: type[int | float], named: dict[str, str]) -> dict[str, float]:
    return {field.name: convert(named[field.name]) for field in fields(kind) if field.name in named}


async def main() -> None:
    port, *upstreams = [int(argument) for argument in sys.argv[1:] if "=" not in argument]
    named = dict(argument.split("=") for argument in sys.argv[1:] if "=" in argument)
    limits = replace(Limits(max_connections=connections_max(raised())), **of(Limits, int, named))  # type: ignore[arg-type]
    deadlines = Deadlines(**of(Deadlines, float, named))  # type: ignore[arg-type]
    server = HttpServer(Pipeline((Forward(upstreams),)), limits, deadlines, ProblemWriter("plain", "1"), b"plain-1")
    await server.start("127.0.0.1", port)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
