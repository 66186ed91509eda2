from __future__ import annotations

import asyncio
import threading

import pytest

from services.api import passwords
from services.api.errors import Problem
from services.api.passwords import AT_ONCE, WAITING_MAX, PasswordPool
from services.runtime.metrics import Series
from services.runtime.password_hash import hash_password


async def test_verify() -> None:
    """Right, wrong, and unknown (which hashes the dummy, so it takes as long); an old hash comes back better."""
    seconds = Series()
    pool = PasswordPool(seconds)
    stored = hash_password("secret")
    async with pool.slot():
        assert await pool.verify("secret", stored) == (True, None)
        assert await pool.verify("wrong", stored) == (False, None)
        assert await pool.verify("secret", None) == (False, None)
        assert (await pool.hash("x")).startswith("$argon2id$")
    assert sum(seconds.counts) == 4
    pool.close()


async def test_two_at_once_sixteen_wait() -> None:
    """The nineteenth is told at once to come back."""
    pool = PasswordPool(Series())
    release = asyncio.Event()

    async def hold() -> None:
        async with pool.slot():
            await release.wait()

    holders = [asyncio.ensure_future(hold()) for _ in range(AT_ONCE + WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(Problem) as caught:
        async with pool.slot():
            pass
    assert caught.value.facts["violated-policies"] == ["login-pool"]
    release.set()
    await asyncio.gather(*holders)
    pool.close()


async def test_nobody_waits_longer_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After two seconds (here 20 ms) of waiting: 429; the slot is not lost."""
    monkeypatch.setattr(passwords, "WAIT_S", 0.02)
    pool = PasswordPool(Series())
    async with pool.slot(), pool.slot():
        with pytest.raises(Problem):
            async with pool.slot():
                pass
    async with pool.slot(), pool.slot():
        pass
    pool.close()


async def test_the_loop_is_free_meanwhile() -> None:
    """A hash runs in a thread of its own."""
    pool = PasswordPool(Series())
    names = await asyncio.gather(*(pool._run(threading.get_native_id) for _ in range(3)))
    assert threading.get_native_id() not in names
    pool.close()
