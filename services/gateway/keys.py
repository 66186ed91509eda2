"""API keys: found in the cache, or once in Postgres; refreshed before they age; good for 15 minutes if Postgres is
away.

Contract.md section 4. The cache is keyed by HMAC-SHA256(newest pepper, credential), so a dump of this process holds
no usable key. An entry is fresh for `KEY_CACHE_TTL` (a use in its last quarter starts a refresh in the background),
then asked for again; while Postgres is away the last good answer lives to `KEY_CACHE_STALE`. What Postgres denied is
denied for 5 s. A message on `inv:identity` drops an entry at once; after a lost subscription (`distrust`) every entry
is read anew before its next use.

The database tells seconds left, kept as a monotonic deadline that is checked on each use: expiry needs no message and
no wall clock.
"""

from __future__ import annotations

import hmac
import random
import secrets
from collections.abc import Callable
from typing import Final, Protocol

from services.core.credentials import cache_key, key_hash, parse_key
from services.core.identity import Claims
from services.gateway.identity import Denied, Identity
from services.gateway.lookups import AWAY, Entry, Flight, Found, Remembered, Waiter
from services.gateway.scopes import effective
from services.runtime.gateway_store import KeyRow, StoreAwayError
from services.runtime.metrics import Counter
from services.runtime.tasks import spawn

NEGATIVE_S: Final = 5.0
REFRESH_FROM: Final = 0.75  # of the lifetime: 45 s of 60. Those first seen in the same second are not read again …
REFRESH_SPREAD: Final = 0.2  # … in the same second
INVALID: Final = Denied("invalid-api-key")
_DUMMY: Final = secrets.token_bytes(32)


class KeyStore(Protocol):
    """Where keys are: Postgres (runtime/gateway_store.py), or a dictionary in tests."""

    async def key(self, key_id: str) -> KeyRow | None: ...


class Keys(Remembered):
    def __init__(
        self,
        store: KeyStore,
        peppers: tuple[tuple[int, bytes], ...],
        *,
        ttl_s: float,
        stale_s: float,
        test_keys: bool,
        clock: Callable[[], float],
        cache: Counter,
    ) -> None:
        super().__init__()
        self._store, self._clock, self._test_keys = store, clock, test_keys
        self._newest, self._peppers = peppers[0][1], dict(peppers)
        self._ttl_s, self._stale_s = ttl_s, stale_s
        self._hit, self._miss, self._stale, self._negative = (
            cache.cell(name) for name in ("hit", "miss", "stale", "negative")
        )

    def get(self, credential: bytes, now: float) -> Found | None:
        """The answer if it is known; None: `ask`."""
        digest = cache_key(self._secret, credential)
        entry = self._entries.get(digest)
        if entry is None:
            return None if self._plausible(credential) is not None else INVALID
        if now >= entry.fresh_until or entry.epoch != self._epoch:
            return None
        found = entry.found
        if isinstance(found, Denied):
            self._negative.n += 1
            return found
        if now >= found.ends:
            return INVALID
        self._hit.n += 1
        if now >= entry.refresh_at and self._flights.has_room(digest):
            self._take_off(credential, digest, entry.name, None)
        return found

    def peek(self, credential: bytes) -> Identity | None:
        """Who this is, as far as the cache knows."""
        return self._peek(cache_key(self._secret, credential))

    def ask(self, credential: bytes, waiter: Waiter[Found]) -> bool:
        """Look it up; `waiter` hears the answer later. False: too many look-ups are under way."""
        digest = cache_key(self._secret, credential)
        self._miss.n += 1
        if self._flights.join(digest, waiter):
            return True
        return self._take_off(credential, digest, self._plausible(credential) or "", waiter)

    def _plausible(self, credential: bytes) -> str | None:
        """The key's id if its shape and check digits are right and this installation takes its kind."""
        parsed = parse_key(credential)
        return parsed.id if parsed is not None and (parsed.env == "live" or self._test_keys) else None

    def _take_off(self, credential: bytes, digest: bytes, key_id: str, waiter: Waiter[Found] | None) -> bool:
        flight = self._flights.open(digest, key_id, waiter)
        if flight is None:
            return False
        spawn(self._fly(flight, credential, digest, key_id), name="key-lookup")
        return True

    async def _fly(self, flight: Flight[Found], credential: bytes, digest: bytes, key_id: str) -> None:
        answer: Found = AWAY
        epoch = self._epoch
        try:
            row = await self._store.key(key_id)
            answer = self._judge(row, credential, self._clock())
            self._keep(flight, digest, self._entry(answer, key_id, epoch))
        except StoreAwayError:
            answer = self._last_good(digest)
        finally:
            self._flights.land(digest, answer)

    def _judge(self, row: KeyRow | None, credential: bytes, now: float) -> Found:
        pepper = self._peppers.get(row.pepper_id) if row is not None else None
        stored = row.key_hash if row is not None else _DUMMY  # the same work whether the id exists or not
        good = hmac.compare_digest(key_hash(pepper or self._newest, credential), stored)
        if row is None or pepper is None or not good or row.revoked or row.disabled:
            return INVALID
        if row.seconds_left is not None and row.seconds_left <= 0:
            return INVALID
        return key_identity(row, now)

    def _entry(self, found: Found, key_id: str, epoch: int) -> Entry:
        now, ttl = self._clock(), self._ttl_s
        if isinstance(found, Denied):
            return Entry(found, key_id, now + NEGATIVE_S, now, epoch)
        again_s = ttl * (REFRESH_FROM + REFRESH_SPREAD * random.random())  # noqa: S311  # spread, no secret
        return Entry(found, key_id, now + ttl, now + self._stale_s, epoch, now + again_s)

    def _last_good(self, digest: bytes) -> Found:
        now = self._clock()
        last = self._last(digest, now)
        if last is None:
            return AWAY
        entry, identity = last
        if now >= identity.ends:
            return INVALID
        self._stale.n += 1
        entry.fresh_until, entry.refresh_at, entry.epoch = now + 1.0, now + 1.0, self._epoch  # asked again in a second
        return identity


def key_identity(row: KeyRow, now: float) -> Identity:
    claims = Claims(row.user_id, row.id, "", "key", row.role, row.tier, effective(row.scopes, row.role), 0)
    identity = Identity(f"key:{row.id}", row.tier, "key", claims)
    if row.seconds_left is not None:
        identity.ends = now + row.seconds_left
    return identity
