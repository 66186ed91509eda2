"""The only way to start a task: it is kept alive, has a name, and its failure is logged instead of vanishing with it.

Called by every background loop (watchers, polls, cache misses, probes); requests on the data path never need one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from services.runtime.log import get_log

T = TypeVar("T")
log = get_log(__name__)
_alive: set[asyncio.Task[Any]] = set()  # asyncio itself keeps only weak references


def spawn(coro: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    task = asyncio.get_running_loop().create_task(coro, name=name)
    _alive.add(task)
    task.add_done_callback(_ended)
    return task


def alive() -> int:
    """How many spawned tasks have not ended: a gauge, and a leak's first sign."""
    return len(_alive)


async def stop(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel and wait: after this none of them touches anything any more."""
    started = [task for task in tasks if task is not None]
    for task in started:
        task.cancel()
    await asyncio.gather(*started, return_exceptions=True)


def _ended(task: asyncio.Task[Any]) -> None:
    _alive.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task failed", task=task.get_name(), exc_info=error)
