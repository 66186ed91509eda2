from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from services.runtime import tasks


async def test_a_failure_is_logged():
    """A task that fails says so with its name, instead of vanishing."""

    async def fails() -> None:
        raise RuntimeError("boom")

    with capture_logs() as lines:
        task = tasks.spawn(fails(), name="doomed")
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert [(line["event"], line["task"]) for line in lines] == [("task failed", "doomed")]


async def test_alive_and_stop():
    """Spawned tasks are kept and counted until they end; stop cancels and waits, silently."""
    before = tasks.alive()
    with capture_logs() as lines:
        task = tasks.spawn(asyncio.sleep(60), name="sleeper")
        assert tasks.alive() == before + 1
        await tasks.stop(task, None)
        await asyncio.sleep(0)
    assert task.cancelled()
    assert tasks.alive() == before
    assert lines == []
