"""Sessions: a GET on the limiter's connection to Redis, kept for 5 s; for 60 s while Redis is away; else 503, never
401.

Contract.md section 4. An outage must log nobody out, so only a nil from Redis denies a token. Ended sessions die by a
message within a second, without messages within five. The session's own end is Redis' TTL: no clock of ours decides
it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from services.core.credentials import cache_key, parse_session, session_id
from services.core.identity import Claims
from services.gateway.identity import Denied, Identity
from services.gateway.lookups import AWAY, Entry, Flight, Found, Remembered, Waiter
from services.gateway.scopes import of_session
from services.runtime.redis_batch import LOST, Sink
from services.runtime.resp import command

FRESH_S: Final = 5.0
STALE_S: Final = 60.0
NEGATIVE_S: Final = 1.0  # a token that was just made must work at once after an early miss
INVALID: Final = Denied("invalid-token")


class Batch(Protocol):
    """The batch connection: takes a command, or says at once that Redis is away."""

    def submit(self, data: bytes, sink: Sink, ticket: Any) -> bool: ...


class Stored(msgspec.Struct, rename="camel"):
    """The value of `sess:<sid>`, as far as the gateway reads it."""

    sid: str
    user: str
    role: str
    tier: str


class Sessions(Remembered):
    def __init__(self, batch: Batch, clock: Callable[[], float]) -> None:
        super().__init__()
        self._batch, self._clock = batch, clock

    def get(self, token: bytes, via: str, now: float) -> Found | None:
        """The answer if it is known; None: `ask`. `via`: bearer or cookie."""
        if not parse_session(token):
            return INVALID
        entry = self._entries.get(self._digest(token, via))
        if entry is None or now >= entry.fresh_until or entry.epoch != self._epoch:
            return None
        return entry.found

    def peek(self, token: bytes, via: str) -> Identity | None:
        """Who this is, as far as the cache knows."""
        return self._peek(self._digest(token, via))

    def ask(self, token: bytes, via: str, waiter: Waiter[Found]) -> bool:
        """Ask Redis; `waiter` hears the answer, at once if Redis is away. False: too many are under way."""
        digest = self._digest(token, via)
        if self._flights.join(digest, waiter):
            return True
        sid = session_id(token)
        flight = self._flights.open(digest, sid, waiter)
        if flight is None:
            return False
        if not self._batch.submit(
            command(b"GET", b"sess:" + sid.encode()), self._heard, (flight, digest, via, self._epoch)
        ):
            flight.waiters.clear()
            self._flights.land(digest, AWAY)
            return False
        return True

    def last_good(self, token: bytes, via: str, now: float) -> Found:
        """Redis is away: the session as it was, within a minute."""
        return self._good(self._digest(token, via), now)

    def _good(self, digest: bytes, now: float) -> Found:
        last = self._last(digest, now)
        return AWAY if last is None else last[1]

    def _digest(self, token: bytes, via: str) -> bytes:
        return cache_key(self._secret, via.encode() + token)

    def _heard(self, ticket: Any, reply: Any) -> None:
        flight: Flight[Found]
        flight, digest, via, epoch = ticket
        now = self._clock()
        if reply is LOST:
            self._flights.land(digest, self._good(digest, now))
            return
        found = session_identity(reply, flight.name, via)
        fresh_s = NEGATIVE_S if isinstance(found, Denied) else FRESH_S
        self._keep(flight, digest, Entry(found, flight.name, now + fresh_s, now + STALE_S, epoch))
        self._flights.land(digest, found)


def session_identity(reply: Any, sid: str, via: str) -> Found:
    """What Redis holds, as an identity; anything that is no session of this shape is none."""
    if not isinstance(reply, bytes):
        return INVALID
    try:
        stored = msgspec.json.decode(reply, type=Stored)
        uuid.UUID(stored.user)
    except (msgspec.DecodeError, ValueError):
        return INVALID
    claims = Claims(stored.user, "", sid, via, stored.role, stored.tier, of_session(stored.role), 0)
    return Identity(f"user:{stored.user}", stored.tier, "user", claims)
