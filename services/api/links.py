"""One-time log-in links: `scalable-api up` opens the dashboard already logged in (contract.md 1.2, 1.11).

256 random bits, kept as SHA-256 in Redis for ten minutes, good once. Made on the control port only, whose token the
caller must have.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter, HTTPException
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.api.models import AnswerModel, Time

LIFE: Final = timedelta(minutes=10)


class LoginLink(AnswerModel):
    token: str
    expires_at: Time


class LoginLinks:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def make(self) -> LoginLink:
        token = secrets.token_urlsafe(32)
        await self._redis.set(_key(token), b"1", ex=LIFE)
        return LoginLink(token=token, expires_at=datetime.now(UTC) + LIFE)

    async def use(self, token: str) -> bool:
        """True once."""
        return await self._redis.getdel(_key(token)) is not None


def link_router(links: LoginLinks) -> APIRouter:
    """The api's control route; the control port guards it."""
    router = APIRouter(prefix="/control/v1")

    @router.post("/login-link")
    async def login_link() -> LoginLink:
        try:
            return await links.make()
        except (RedisError, OSError):
            raise HTTPException(503, "Redis cannot be reached") from None

    return router


def _key(token: str) -> str:
    return "login-link:" + hashlib.sha256(token.encode()).hexdigest()
