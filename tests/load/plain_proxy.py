"""The engine with the smallest pipeline there is: what a hop costs before any policy. `python -m tests.load.plain_proxy PORT UPSTREAM… [NAME=SECONDS…]`, names
of `Deadlines`."""

from __future__ import annotations

import asyncio
import gc
import sys
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


async def main() -> None:
    port, *upstreams = [int(argument) for argument in sys.argv[1:] if "=" not in argument]
    named = [argument.split("=") for argument in sys.argv[1:] if "=" in argument]
    deadlines = Deadlines(**{name: float(seconds) for name, seconds in named})  # type: ignore[arg-type]  # floats
    limits = Limits(max_connections=connections_max(raised()))
    server = HttpServer(Pipeline((Forward(upstreams),)), limits, deadlines, ProblemWriter("plain", "1"), b"plain-1")
    await server.start("127.0.0.1", port)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
