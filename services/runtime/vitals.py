"""The part of a snapshot that every process has: rates of the last full second, memory, CPU, loop lag, tier revision.

A component passes its traffic in as `Traffic`: it counts answers in plain attributes, and once a second
`Traffic.roll` turns the differences into requests per second, error rate and quantiles. Called by process.py's
Runtime; no request waits for any of it.
"""

from __future__ import annotations

import os
import resource
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from services.runtime.metrics import Series, quantile
from services.schema.snapshot import Event, Latency

EVENTS_KEPT: Final = 50
CLEAN_S: Final = 10.0
MEMORY_DEFAULT: Final = 512 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Traffic:
    """Answers of this process: `requests`, `errors` (5xx) and `durations` are the component's to raise."""

    __slots__ = ("_before", "_counts", "durations", "error_rate", "errors", "latency", "requests", "rps")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.durations = Series()
        self.rps = 0.0
        self.error_rate = 0.0
        self.latency = Latency()
        self._before = (0, 0)
        self._counts = list(self.durations.counts)

    def roll(self, seconds: float) -> None:
        """Close the second: what happened since the last call, spread over `seconds`."""
        requests, errors = self.requests - self._before[0], self.errors - self._before[1]
        self._before = (self.requests, self.errors)
        window = Series()
        window.counts = [now - then for now, then in zip(self.durations.counts, self._counts, strict=True)]
        self._counts = list(self.durations.counts)
        self.rps = requests / seconds
        self.error_rate = errors / requests if requests else 0.0
        self.latency = Latency(*(round(1000 * quantile(window, q), 3) for q in (0.5, 0.95, 0.99)))


class Events:
    """The last things that changed, for the snapshot."""

    def __init__(self) -> None:
        self._events: tuple[Event, ...] = ()

    def add(self, kind: str, subject: str, message: str, severity: str = "info") -> None:
        self._events = (*self._events, Event(rfc3339(time.time()), kind, severity, subject, message))[-EVENTS_KEPT:]

    @property
    def latest(self) -> tuple[Event, ...]:
        return self._events


class Degraded:
    """What this process does without: entered at once, left after CLEAN_S without it; each change is an event."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._until: dict[str, float] = {}  # reason → when it counts as over

    def note(self, reason: str, *, bad: bool) -> None:
        """Say how a dependency is, as often as you like. Reasons: redis, postgres, external, overload, endpoints."""
        if bad:
            if reason not in self._until:
                self._events.add("degraded.entered", reason, f"degraded: {reason}", "warning")
            self._until[reason] = float("inf")
        elif self._until.get(reason) == float("inf"):
            self._until[reason] = time.monotonic() + CLEAN_S

    def active(self) -> tuple[str, ...]:
        now = time.monotonic()
        for reason in [reason for reason, until in self._until.items() if now >= until]:
            del self._until[reason]
            self._events.add("degraded.left", reason, f"no longer degraded: {reason}")
        return tuple(sorted(self._until))


class Cpu:
    """Share of one core, or of the container's limit if that is lower, in percent over the last roll."""

    def __init__(self) -> None:
        self.percent = 0.0
        self._limit = cpu_limit()
        self._before = _cpu_seconds()

    def roll(self, seconds: float) -> None:
        now = _cpu_seconds()
        self.percent = round(100 * (now - self._before) / seconds / min(1.0, self._limit), 1)
        self._before = now


def cpu_limit(path: str = "/sys/fs/cgroup/cpu.max") -> float:
    """Cores the control group allows; infinity without a limit."""
    try:
        quota, period = Path(path).read_text(encoding="ascii").split()
        return int(quota) / int(period) if quota != "max" else float("inf")
    except (OSError, ValueError):
        return float("inf")


def memory_limit(path: str = "/sys/fs/cgroup/memory.max") -> int:
    """Bytes the control group allows; without a limit, what a process of ours should never need."""
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):  # none, or "max"
        return MEMORY_DEFAULT


def rss_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):  # no /proc: the peak is the best there is
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rfc3339(seconds: float) -> str:
    """UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
