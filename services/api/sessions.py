"""Sessions: a random token for the client, its SHA-256 as the session's name in Redis, nothing usable in a dump
(contract.md 4).

`sess:<sid>` holds the session as JSON and dies by itself: PX is the shorter of idle time and what is left of the
absolute life. `sess-of:<user>` is the set of a user's sids. The gateway reads `sess:<sid>`; the api writes it. An end
is published, so gateways forget within a second.
"""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.api.models import rfc3339
from services.api.notices import Notices
from services.core.credentials import SECRET_BYTES, make_session, session_id
from services.runtime import tasks

TOUCH_S: Final = 60.0
TOUCHED_MAX: Final = 50_000
USER_AGENT_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class SessionUser:
    """Whose session it is."""

    id: str
    email: str
    role: str
    tier: str


@dataclass(frozen=True, slots=True)
class Session:
    sid: str
    user: SessionUser
    created_at: datetime
    seen_at: datetime
    expires_at: datetime  # the absolute end
    ip: str
    user_agent: str


class Sessions:
    """`life_s` absolute, `idle_s` since it was last used."""

    def __init__(self, redis: Redis, notices: Notices, *, life_s: int, idle_s: int) -> None:
        self._redis = redis
        self._notices = notices
        self._life = timedelta(seconds=life_s)
        self._idle = timedelta(seconds=idle_s)
        self._touched: OrderedDict[str, float] = OrderedDict()

    async def create(self, user: SessionUser, ip: str, user_agent: str) -> tuple[str, Session]:
        """A new session and its token, which exists nowhere else. Raises RedisError."""
        token = make_session(secrets.token_bytes(SECRET_BYTES))
        now = datetime.now(UTC)
        session = Session(session_id(token.encode()), user, now, now, now + self._life, ip, user_agent[:USER_AGENT_MAX])
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(_key(session.sid), encode(session), px=self._px(session, now))
            pipe.sadd(_index(user.id), session.sid)
            pipe.pexpire(_index(user.id), int(self._life.total_seconds() * 1000))
            await pipe.execute()
        return token, session

    async def get(self, sid: str) -> Session | None:
        raw = await self._redis.get(_key(sid))
        return decode(raw) if raw else None

    async def of_user(self, user_id: str) -> list[Session]:
        """Live ones, newest first; sids whose session is over leave the index."""
        sids = [_text(sid) for sid in await self._redis.smembers(_index(user_id))]
        if not sids:
            return []
        raws = await self._redis.mget([_key(sid) for sid in sids])
        gone = [sid for sid, raw in zip(sids, raws, strict=True) if raw is None]
        if gone:
            await self._redis.srem(_index(user_id), *gone)
        return sorted((decode(raw) for raw in raws if raw), key=lambda s: s.created_at, reverse=True)

    async def end(self, sid: str, user_id: str) -> bool:
        """Whether there was such a session of this user; another user's stays."""
        if await self._redis.srem(_index(user_id), sid) == 0:
            return False
        ended = await self._redis.delete(_key(sid))
        await self._notices.say(f"sess:{sid}")
        return ended > 0

    async def end_all(self, user_id: str) -> int:
        """How many live ones ended."""
        sids = [_text(sid) for sid in await self._redis.smembers(_index(user_id))]
        if not sids:
            return 0
        ended = await self._redis.delete(*(_key(sid) for sid in sids))
        await self._redis.srem(_index(user_id), *sids)
        await self._notices.say(*(f"sess:{sid}" for sid in sids))
        return int(ended)

    def touch(self, sid: str, now_s: float) -> None:
        """Called with each request of a session; writes once a minute at most, and nobody waits for it."""
        if now_s - self._touched.get(sid, -TOUCH_S) < TOUCH_S:
            return
        self._touched[sid] = now_s
        self._touched.move_to_end(sid)
        if len(self._touched) > TOUCHED_MAX:
            self._touched.popitem(last=False)
        tasks.spawn(self._seen(sid), name="session-touch")

    async def _seen(self, sid: str) -> None:
        try:
            session = await self.get(sid)
            if session is not None:
                now = datetime.now(UTC)
                seen = Session(**{**_fields(session), "seen_at": now})
                await self._redis.set(
                    _key(sid), encode(seen), px=self._px(seen, now), xx=True
                )  # never revives an ended one
        except (RedisError, OSError):
            self._touched.pop(sid, None)

    def _px(self, session: Session, now: datetime) -> int:
        left = min(self._idle, session.expires_at - now)
        return max(1, int(left.total_seconds() * 1000))


def _key(sid: str) -> str:
    return f"sess:{sid}"


def _index(user_id: str) -> str:
    return f"sess-of:{user_id}"


def _fields(session: Session) -> dict[str, Any]:
    return {name: getattr(session, name) for name in Session.__slots__}


def encode(session: Session) -> str:
    user = asdict(session.user)
    return json.dumps(
        {
            "sid": session.sid,
            "user": user.pop("id"),
            **user,
            "createdAt": rfc3339(session.created_at),
            "seenAt": rfc3339(session.seen_at),
            "expiresAt": rfc3339(session.expires_at),
            "ip": session.ip,
            "userAgent": session.user_agent,
        }
    )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def decode(raw: bytes | str) -> Session:
    found = json.loads(raw)
    created, seen, expires = (datetime.fromisoformat(found[name]) for name in ("createdAt", "seenAt", "expiresAt"))
    user = SessionUser(found["user"], found["email"], found["role"], found["tier"])
    return Session(found["sid"], user, created, seen, expires, found["ip"], found["userAgent"])
