"""Waiting for something to become true, in place of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any


async def eventually(check: Callable[[], Any], within_s: float, what: str, every_s: float = 0.02) -> Any:
    """The first true value of `check` (it may be async, and may raise meanwhile); AssertionError with the last one
    after `within_s`.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            value = check()
            found = await value if inspect.isawaitable(value) else value
            if found:
                return found
            last = repr(found)
        except Exception as error:  # noqa: BLE001  # whatever it is may pass
            last = f"{type(error).__name__}: {error}"
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within_s} s: {what}; last seen: {last}")
        await asyncio.sleep(every_s)
