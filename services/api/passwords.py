"""Password hashing in a bounded pool: two at a time, sixteen waiting two seconds at most, the next one is told to
come back (contract.md 4).

Argon2 costs 19 MiB and some 20 ms of a core on purpose; without the bound, a burst of log-ins would be an outage for
everybody else. A hash runs in a thread (the C code releases the interpreter lock). Unknown e-mails are verified
against a dummy, so that both failures take as long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, TypeVar, TypeVarTuple

from services.api.errors import Problem
from services.runtime.metrics import Series
from services.runtime.password_hash import hash_password, verify_password

Args = TypeVarTuple("Args")
Result = TypeVar("Result")
AT_ONCE: Final = 2
WAITING_MAX: Final = 16
WAIT_S: Final = 2.0
# the hash of a random password nobody knows, with the current parameters
DUMMY: Final = "$argon2id$v=19$m=19456,t=2,p=1$tOvw7aOQmqsUeu9R5Jcqag$MuiMtbHjFI/0SjXnDhex4UU7CzOz0Fz5YJE5Xw42Lj8"


class PasswordPool:
    """`seconds` is the histogram of hashes."""

    def __init__(self, seconds: Series) -> None:
        self._seconds = seconds
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="argon2")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A place among the two; raises 429 (policy `login-pool`) when sixteen wait or two seconds are over."""
        if self._waiting >= WAITING_MAX:
            raise self._full()
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_S):
                await self._slots.acquire()
        except TimeoutError:
            raise self._full() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def hash(self, password: str) -> str:
        """Inside a slot."""
        return await self._run(hash_password, password)

    async def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Inside a slot: whether it matches, and a better hash to store. `stored` None (no such user): False after
        the same work.
        """
        matches, better = await self._run(verify_password, password, stored or DUMMY)
        return (matches, better) if stored else (False, None)

    async def _run(self, work: Callable[[*Args], Result], *args: *Args) -> Result:
        started = time.perf_counter()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        finally:
            self._seconds.observe(time.perf_counter() - started)

    @staticmethod
    def _full() -> Problem:
        return Problem(
            "abnormal-usage-detected",
            "Too many log-ins at once; try again in a moment.",
            retry_after_s=2,
            violated=("login-pool",),
        )
