"""How late this process' loop is: bounds on waits must hold for the code, not for a machine that others share."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

BEAT_S: Final = 0.005


@dataclass(slots=True)
class Pulse:
    """`late_s` is the most by which a beat came late so far."""

    late_s: float = 0.0


@contextlib.asynccontextmanager
async def pulse() -> AsyncIterator[Pulse]:
    loop, found = asyncio.get_running_loop(), Pulse()
    due = time.monotonic() + BEAT_S
    handle = loop.call_later(BEAT_S, lambda: None)

    def beat() -> None:
        nonlocal due, handle
        now = time.monotonic()
        found.late_s = max(found.late_s, now - due)
        due = now + BEAT_S
        handle = loop.call_later(BEAT_S, beat)

    beat()
    try:
        yield found
    finally:
        handle.cancel()
