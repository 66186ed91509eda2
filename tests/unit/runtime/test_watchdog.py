from __future__ import annotations

import asyncio
import time

from structlog.testing import capture_logs

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


def test_one_pause_is_no_load():
    """Pressing is the lag that three ticks of a second reach; of a loop with fewer ticks a second, the last three."""
    dog = Watchdog(Series())
    assert dog.pressing_lag_ms == 0.0
    for _ in range(40):
        dog.note(0.001, 0.0)
    for lag_s in (1.5, 0.3):
        dog.note(lag_s, 0.0)
    assert dog.pressing_lag_ms == 1.0
    dog.note(0.06, 0.0)
    assert dog.pressing_lag_ms == 60.0
    for _ in range(49):
        dog.note(0.002, 0.0)
    assert dog.pressing_lag_ms == 2.0


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
