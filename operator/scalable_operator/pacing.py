"""When a write to an object may be tried again after it was refused (operator.md §8). Pure. Caller: backend."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from services.controller.backend import Conflict, Denied, Key, Outcome, RetryAfter

BUSY_S: Final = 0.5
CONFLICTS: Final = 3
CONFLICT_S: Final = 3.0
"""Five seconds after a storm everything is as wanted: the visit that writes, and the next, come after this."""
DENIED_S: Final = 60.0
Subject = tuple[Key, str]
"""Whose object, and which of its writes."""


@dataclass(slots=True)
class _Wait:
    until: float = 0.0
    conflicts: int = 0
    failures: int = 0
    answer: Outcome | None = None


@dataclass(slots=True)
class Pacing:
    """What every subject waits for."""

    draw: Callable[[], float] = random.random
    _waits: dict[Subject, _Wait] = field(default_factory=dict)

    def blocked(self, now: float, subject: Subject) -> Outcome | None:
        """The refusal that still stands, or None: go on."""
        wait = self._waits.get(subject)
        if wait is None or now >= wait.until:
            return None
        return wait.answer if isinstance(wait.answer, Denied) else RetryAfter(wait.until - now)

    def heard(self, now: float, subject: Subject, answer: Outcome) -> Outcome:
        """Note it; a busy store without a word about when gets one here."""
        wait = self._waits.setdefault(subject, _Wait())
        wait.answer = answer
        if isinstance(answer, Conflict):
            wait.conflicts += 1
            wait.until = now + CONFLICT_S if wait.conflicts >= CONFLICTS else now
        elif isinstance(answer, RetryAfter):
            seconds = answer.seconds or backoff(wait.failures, self.draw)
            wait.failures += 1
            wait.until = now + seconds
            return RetryAfter(seconds)
        elif isinstance(answer, Denied):
            wait.until = now + DENIED_S
        else:
            del self._waits[subject]
        return answer

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._waits = {subject: wait for subject, wait in self._waits.items() if subject[0] != key}


def backoff(failures: int, draw: Callable[[], float]) -> float:
    """0.5·2ⁿ s ±20 %, at most 30."""
    wait: float = min(30.0, BUSY_S * 2 ** min(failures, 10)) * (0.8 + 0.4 * draw())
    return wait
