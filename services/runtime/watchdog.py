"""Is the event loop alive? A 20 ms timer on it measures its own lateness; a thread beside it looks when the timer
stops.

A loop blocked for over a second is reported with the stack it is blocked in, by the thread, while it is blocked
(reliability.md P20). Three lags over 500 ms within ten seconds turn readiness red, so that others take over, until it
has been on time for five.

Readiness counts a lag without the time in which the kernel had no core for the loop: a machine whose cores are all busy
(pods that start beside these) delays every process on it alike, and if each called itself not ready nobody would be
left to take over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
import traceback
from collections import deque
from typing import Final

from services.runtime.log import get_log
from services.runtime.metrics import Series

TICK_S: Final = 0.02
BLOCKED_S: Final = 1.0
LAG_S: Final = 0.5
LAGS: Final = 3
LAGS_WITHIN_S: Final = 10.0
CALM_S: Final = 5.0
MEAN_TICKS: Final = 50  # the snapshot's lag: mean of the last second
SCHEDSTAT: Final = "/proc/thread-self/schedstat"  # ns on a core, ns waiting for one, slices; Linux alone

log = get_log(__name__)


class Watchdog:
    def __init__(self, series: Series) -> None:
        self._series = series
        self._late: deque[float] = deque(maxlen=LAGS)  # loop times of lags over LAG_S
        self._recent: deque[float] = deque([0.0], maxlen=MEAN_TICKS)
        self._beat = time.monotonic()
        self._stop = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._schedstat: int | None = None
        self._waited_s = 0.0  # for a core, since the thread began

    def start(self) -> None:
        with contextlib.suppress(OSError):
            self._schedstat = os.open(SCHEDSTAT, os.O_RDONLY | os.O_CLOEXEC)
        self._waited_s = self._waited()
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._due = self._loop.time() + TICK_S
        self._timer = self._loop.call_at(self._due, self._tick)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()
        if self._timer:
            self._timer.cancel()
        if self._schedstat is not None:
            os.close(self._schedstat)
            self._schedstat = None

    @property
    def lag_ms(self) -> float:
        return 1000 * sum(self._recent) / len(self._recent)

    def calm(self) -> bool:
        """False while lags over LAG_S keep coming."""
        if len(self._late) < LAGS or self._late[-1] - self._late[0] > LAGS_WITHIN_S:
            return True
        return self._loop.time() - self._late[-1] > CALM_S

    def note(self, lag_s: float, now: float, waited_s: float = 0.0) -> None:
        """`waited_s`: of it, for a core."""
        self._series.observe(lag_s)
        self._recent.append(lag_s)
        if lag_s - waited_s > LAG_S:
            self._late.append(now)

    def _tick(self) -> None:
        now = self._loop.time()
        waited_s, before_s = self._waited(), self._waited_s
        self._waited_s = waited_s
        self.note(max(0.0, now - self._due), now, waited_s - before_s)
        self._beat = time.monotonic()
        self._due = now + TICK_S
        self._timer = self._loop.call_at(self._due, self._tick)

    def _waited(self) -> float:
        """How long the loop's thread has waited for a core; 0 where the kernel does not tell."""
        if self._schedstat is None:
            return 0.0
        return int(os.pread(self._schedstat, 128, 0).split()[1]) / 1e9

    def _watch(self) -> None:
        reported = 0.0
        while not self._stop.wait(BLOCKED_S / 4):
            beat = self._beat
            blocked_s = time.monotonic() - beat
            if blocked_s > BLOCKED_S and reported != beat:
                reported = beat
                frame = sys._current_frames().get(self._watched)
                stack = "".join(traceback.format_stack(frame)) if frame else ""
                log.error("event loop is blocked", blocked_ms=round(blocked_s * 1000), exception=stack)
