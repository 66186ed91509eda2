from __future__ import annotations

import asyncio
import os
import sys
import time

from structlog.testing import capture_logs

from services.runtime import watchdog
from services.runtime.metrics import Series
from services.runtime.watchdog import CALM_S, Watchdog
from tests.harness.wait import eventually


async def test_ticks_are_measured():
    """A free loop's timer is on time: observations come, small ones."""
    series = Series()
    dog = Watchdog(series)
    dog.start()
    await eventually(lambda: sum(series.counts) > 3, 5, "the watchdog ticks")
    assert dog.calm()
    assert dog.lag_ms < 500
    dog.stop()


async def test_three_long_lags_turn_readiness_red():
    """One or two lags over 500 ms are not enough; three within ten seconds are; five calm seconds mend it."""
    dog = Watchdog(Series())
    dog.start()
    now = asyncio.get_running_loop().time()
    dog.note(0.6, now)
    dog.note(0.6, now)
    assert dog.calm()
    dog.note(0.6, now)
    assert not dog.calm()
    dog._late.clear()
    for _ in range(3):
        dog.note(0.6, now - CALM_S - 0.1)
    assert dog.calm()
    dog._late.clear()
    for at in (now - 20, now - 10, now):
        dog.note(0.6, at)
    assert dog.calm()
    dog.stop()


async def test_a_busy_machine_turns_nobody_red():
    """What the loop waited for a core is no lag of its own: what is left counts."""
    dog = Watchdog(Series())
    dog.start()
    now = asyncio.get_running_loop().time()
    for _ in range(3):
        dog.note(2.0, now, waited_s=1.6)
    assert dog.calm()
    for _ in range(3):
        dog.note(2.0, now, waited_s=1.4)
    assert not dog.calm()
    dog.stop()


async def test_waiting_for_a_core_is_measured():
    """Beside a process that is never idle on the same core the loop waits, and the kernel tells for how long."""
    dog = Watchdog(Series())
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    busy = await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
    try:
        dog.start()
        before, until = dog._waited(), time.monotonic() + 5
        while dog._waited() - before < 0.02 and time.monotonic() < until:
            sum(range(10_000))
        assert 0.02 <= dog._waited() - before < 5
    finally:
        busy.kill()
        await busy.wait()
        os.sched_setaffinity(0, cores)
        dog.stop()


async def test_without_the_kernels_figures_every_lag_counts(monkeypatch):
    """Where there is no schedstat nothing is subtracted."""
    monkeypatch.setattr(watchdog, "SCHEDSTAT", "/proc/no-such-file")
    dog = Watchdog(Series())
    dog.start()
    assert dog._waited() == 0.0
    dog.stop()


async def test_a_blocked_loop_is_named_while_it_is_blocked():
    """After a second the stack in which the loop is stuck stands in the log."""
    dog = Watchdog(Series())
    with capture_logs() as lines:
        dog.start()
        time.sleep(1.6)  # noqa: ASYNC251  # the fault itself
        dog.stop()
    blocked = [line for line in lines if line["event"] == "event loop is blocked"]
    assert len(blocked) == 1
    assert "test_a_blocked_loop" in blocked[0]["exception"]
