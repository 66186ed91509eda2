"""The only loop over the stages, and the only place where an exchange is resumed.

A stage that parks keeps the ticket that was current when it was called and hands it to `resume`; a stale ticket (the exchange was
answered, cancelled or rewound meanwhile) does nothing. A stage never resumes before it has returned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.core.verdicts import PARKED, Outcome
from services.http1.exchange import DONE, PARKED_STATE, RUNNING, Exchange

Stage = Callable[[Exchange], Outcome]
HeadHook = Callable[[Exchange], None]
FinishHook = Callable[[Exchange], None]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A process's path: stages in order; `on_head` in reverse order before any response head is written, `on_finish` exactly once."""

    stages: tuple[Stage, ...]
    on_head: tuple[HeadHook, ...] = ()
    on_finish: tuple[FinishHook, ...] = ()
