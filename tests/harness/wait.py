"""Waiting for something to become true, in place of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any, Final

PATIENCE: Final = 4
"""How many times what is promised a busy machine may take before a test fails."""


async def eventually(check: Callable[[], Any], within_s: float, what: str, every_s: float = 0.02) -> Any:
    """The first true value of `check` (it may be async, and may raise meanwhile).

    `within_s` is what is promised: what took longer is printed, and fails only past `PATIENCE` times that, with the last
    value.
    """
    began = time.monotonic()
    while True:
        try:
            value = check()
            found = await value if inspect.isawaitable(value) else value
            if found:
                if (took := time.monotonic() - began) > within_s:
                    print(f"late: {what} took {took:.1f} s, promised are {within_s} s")
                return found
            last = repr(found)
        except Exception as error:  # noqa: BLE001  # whatever it is may pass
            last = f"{type(error).__name__}: {error}"
        if time.monotonic() - began >= PATIENCE * within_s:
            raise AssertionError(f"not within {PATIENCE} x {within_s} s: {what}; last seen: {last}")
        await asyncio.sleep(every_s)
