"""Guessing is made slow: failures per account and network, and per address, counted in Redis (contract.md 4, login
protection).

`login-pair`: five failures in 15 minutes, then 429 for the right password too; success forgets. Looked at before
anything is hashed, so a guesser costs no argon2. `brute force`: five failures of one address in 15 minutes are one
audit row, not five. The gateway's `login-ip` stands before both.
"""

from __future__ import annotations

import hashlib
from typing import Final

from redis.asyncio import Redis

from services.api.errors import Problem
from services.core.identity import network_identifier

FAILURES_MAX: Final = 5
WINDOW_MS: Final = 15 * 60 * 1000


class LoginGuard:
    """Every call raises RedisError while Redis is away: then nobody can log in anyway, for sessions live there."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def check(self, email: str, address: str) -> None:
        """Raises 429 when this account had its failures from this network."""
        pair = _pair(email, address)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(pair)
            pipe.pttl(pair)
            count, left_ms = await pipe.execute()
        if count is not None and int(count) >= FAILURES_MAX:
            raise Problem(
                "abnormal-usage-detected",
                "Too many failed log-ins for this account.",
                retry_after_s=max(1, -(-int(left_ms) // 1000)),
                violated=("login-pair",),
            )

    async def failed(self, email: str, address: str) -> bool:
        """Count a failure; True when it is this address's fifth: the moment to tell the audit log."""
        pair, guesser = _pair(email, address), f"login-fail:{network_identifier(address)}"
        async with self._redis.pipeline(transaction=True) as pipe:
            for name in (pair, guesser):
                pipe.incr(name)
                pipe.pexpire(name, WINDOW_MS, nx=True)
            counts = await pipe.execute()
        return int(counts[2]) == FAILURES_MAX

    async def succeeded(self, email: str, address: str) -> None:
        await self._redis.delete(_pair(email, address))


def _pair(email: str, address: str) -> str:
    digest = hashlib.sha256(email.lower().encode()).hexdigest()[:32]  # an e-mail of 254 characters is no key name
    return f"login-pair:{digest}:{network_identifier(address)}"
