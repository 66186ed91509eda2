"""FAULT_AT=before|after:k ends the process at its k-th write, as a power cut would: the tests' way into every gap.

Counted are the writes to the API server but the Lease's. Caller: app.py, which hands the hooks to `Kube`.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PATTERN: Final = re.compile(r"(before|after):([1-9]\d{0,3})")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(slots=True)
class Fault:
    """`before` and `after` are called around each write."""

    side: str = ""
    number: int = 0
    die: Callable[[], None] = _die
    begun: int = 0
    done: int = 0

    def before(self) -> None:
        self.begun += 1
        if self.side == "before" and self.begun == self.number:
            self.die()

    def after(self) -> None:
        self.done += 1
        if self.side == "after" and self.done == self.number:
            self.die()


def fault(text: str) -> Fault:
    """`''` is none; raises ValueError."""
    if not text:
        return Fault()
    match = PATTERN.fullmatch(text)
    if match is None:
        raise ValueError("must be before:k or after:k with k from 1")
    return Fault(match[1], int(match[2]))
