"""Load from outside the cluster while something happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.harness.load import OpenLoop, Report
from tests.harness.wait import eventually
from tests.node.story.conftest import Platform

RESOURCES = "/api/v1/resources"


@contextlib.asynccontextmanager
async def load(platform: Platform, key: dict[str, str], rate: float, seconds: float = 400) -> AsyncIterator[OpenLoop]:
    """Runs beside the block and ends with it; more than `seconds` never."""
    loop = OpenLoop(platform.url, rate=rate, seconds=seconds, path=RESOURCES, headers=key)
    running = asyncio.get_running_loop().create_task(loop.run())
    try:
        yield loop
    finally:
        loop.stop()
        await running


async def until(check: Callable[[], Any], within_s: float, what: str) -> float:
    """Seconds until it is true. kubectl waits in a thread, so the load goes on."""
    begun = time.monotonic()
    await eventually(lambda: asyncio.to_thread(check), within_s, what, 0.1)
    return time.monotonic() - begun


async def during(act: Callable[..., Any], *arguments: Any) -> float:
    """Does it in a thread; seconds taken."""
    begun = time.monotonic()
    await asyncio.to_thread(act, *arguments)
    return time.monotonic() - begun


def told(report: Report) -> str:
    """The load's own figures in one line."""
    found = f"{len(report.samples)} requests, {len(report.failed)} failed, p50 {report.quantile(0.5) * 1000:.0f} ms"
    return f"{found}, p99 {report.quantile(0.99) * 1000:.0f} ms"
