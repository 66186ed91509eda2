"""The two-level cache as the routes use it: `get` with the way to the origin, `changed` after a write, `last_good`
for what is never fresh.

The order of a look-up: L1; then, once per key and process however many ask, L2, the fleet-wide lock, the origin. What
to do with an entry found (serve, serve and refresh, serve stale) is decided in core/cache.py; this file acts on it. A
fill belongs to the generation read before its origin call, so a write during the call cannot be overwritten by what
was read before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from time import monotonic, time
from typing import Any, Final

import redis.asyncio as redis

from services.api.cache.entry import Namespace, digest, key
from services.api.cache.found import Found, Level
from services.api.cache.generations import CHANNEL, POLL_S, Generations
from services.api.cache.local import Local
from services.api.cache.shared import Shared
from services.api.cache.stats import CacheMetrics, Stats
from services.core.cache import Entry, HitAndRefresh, Miss, Stale, StaleAndRefresh, lookup, on_error
from services.runtime.log import get_log
from services.runtime.metrics import Metrics
from services.runtime.redis import Subscription
from services.runtime.tasks import spawn, stop

IDENTITY_CHANNEL: Final = "inv:identity"  # `user:<uuid>`: what was read of that user is old
PROFILES: Final = "users"
NEGATIVE_TTL_S: Final = 5.0  # how long an absent thing is known to be absent
WAIT_STEP_S: Final = 0.02  # another api calls the origin: look into L2 this often,
WAIT_MAX_S: Final = 0.5  # and no longer than this
log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the origin answered; the entity tag stands for this body."""

    body: bytes
    etag: str = ""


Fetch = Callable[[], Awaitable[Fetched | None]]  # None: there is no such thing


class OwnError(Exception):
    """Raised by a fetch for what is no failure of the origin (a refusal of the request itself): never answered by a
    stale entry.
    """


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


@dataclass(frozen=True, slots=True)
class _Ask:
    """A look-up: the namespace, the key under the generation read at its start, the way to the origin."""

    space: Namespace
    key: str
    fetch: Fetch


class Cache:
    """`draw` gives numbers in (0, 1]; `url` is where invalidations are heard (empty: only the poll tells)."""

    def __init__(
        self,
        store: redis.Redis,
        namespaces: Iterable[Namespace],
        *,
        max_items: int,
        max_bytes: int,
        l1_ttl_s: float,
        draw: Callable[[], float],
        metrics: Metrics,
        url: str = "",
        clock: Callable[[], float] = time,
    ) -> None:
        self.namespaces = {n.name: n for n in namespaces}
        self._local = Local(max_items, max_bytes, l1_ttl_s)
        self._shared = Shared(store)
        self.generations = Generations(
            store,
            self.namespaces,
            on_step=self._stepped,
            on_drop=self._dropped,
            on_store=self._store_seen,
        )
        self._draw = draw
        self._clock = clock
        self._flights: dict[str, asyncio.Task[Found | _Failed]] = {}
        self._renewing: set[str] = set()
        self.stats = Stats(self.namespaces)
        self.metrics = CacheMetrics(metrics, self.size)
        self._loop: asyncio.Task[Any] | None = None
        self._subscription = (
            Subscription(url, (CHANNEL, IDENTITY_CHANNEL), self._heard, self.generations.on_lost) if url else None
        )

    async def start(self) -> None:
        """Hears invalidations, reads the generations, then keeps them and sweeps L1."""
        if self._subscription is not None:
            self._subscription.start()
        await self.generations.poll()
        self._loop = spawn(self._keep(), name="cache")

    async def close(self) -> None:
        await stop(self._loop, *self._flights.values())
        if self._subscription is not None:
            await self._subscription.stop()

    async def get(self, namespace: str, parameters: tuple[str, ...], fetch: Fetch) -> Found:
        """The entry for `parameters`; raises what `fetch` raised if nothing may stand in for it."""
        await self.generations.settle()
        at = key(namespace, self.generations.number(namespace), digest(parameters))
        ask = _Ask(self.namespaces[namespace], at, fetch)
        found = self._decide(ask, self._local.get(at, self._clock()), "l1")
        if found is None:
            found = await self._fly(ask)
        self._count(namespace, found.result)
        return found

    async def changed(self, *namespaces: str) -> None:
        """After COMMIT: what is cached under `namespaces` is old. Not an error if Redis is away (generations.py)."""
        for namespace in namespaces:
            self.metrics.invalidations.inc(namespace)
        await self.generations.step(*namespaces)

    async def clear(self) -> None:
        await self.changed(*self.namespaces)

    async def remember(self, namespace: str, parameters: tuple[str, ...], fetched: Fetched) -> Found:
        """Keeps an origin's answer that is never served as fresh, only by `last_good`."""
        space = self.namespaces[namespace]
        now = self._clock()
        entry = Entry(fetched.body, fetched.etag, now, now, now + space.stale_s, 0.0, negative=False)
        at = key(namespace, self.generations.number(namespace), digest(parameters))
        self._local.put(namespace, at, entry, now, self._draw())
        if self._shared.up:
            spawn(self._shared.put(at, entry, now), name="cache-put")
        self._count(namespace, "miss")
        return Found(entry, "origin", now)

    async def last_good(self, namespace: str, parameters: tuple[str, ...]) -> Found | None:
        """What `remember` kept, while it may still stand in."""
        at = key(namespace, self.generations.number(namespace), digest(parameters))
        now = self._clock()
        level: Level = "l1"
        entry = self._local.get(at, now)
        if entry is None and self._shared.up:
            level, entry = "l2", await self._shared.get(at)
        if entry is None or not isinstance(on_error(entry, now), Stale):
            return None
        self._count(namespace, "stale")
        return Found(entry, level, max(now, entry.fresh_until + 0.001))

    async def purge(self, namespace: str, parameters: tuple[str, ...] | None, *, dry_run: bool) -> int:
        """How many entries this process sees under the name or the exact parameters; dropped unless `dry_run`."""
        if parameters is None:
            matched = self._local.entries().get(namespace, 0)
            if not dry_run:
                await self.changed(namespace)
            return matched
        hashed = digest(parameters)
        at = key(namespace, self.generations.number(namespace), hashed)
        if dry_run:
            return int(self._local.get(at, self._clock()) is not None or await self._shared.holds(at))
        local = self._local.drop(at)
        shared = await self._shared.drop(at)
        await self.generations.drop(namespace, hashed)
        self.metrics.invalidations.inc(namespace)
        return int(local or shared)

    async def describe(self) -> dict[str, Any]:
        """This process's part of `~/admin/cache`."""
        used = await self._shared.used_bytes() if self._shared.up else 0
        return self.stats.describe(
            self.namespaces.values(),
            self.generations.number,
            self._local.entries(),
            (len(self._local), self._local.bytes),
            {"state": "up" if self._shared.up else "down", "usedBytes": used},
        )

    def size(self) -> tuple[int, int]:
        """Entries and bytes in L1."""
        return len(self._local), self._local.bytes

    def _count(self, namespace: str, result: str) -> None:
        self.stats.count(namespace, result)
        self.metrics.requests.inc(namespace, result)

    def _decide(self, ask: _Ask, entry: Entry | None, level: Level) -> Found | None:
        """The entry as an answer, with its refresh started where core says so; None: go further."""
        now = self._clock()
        decision = lookup(entry, now, self._draw())
        if entry is None or isinstance(decision, Miss):
            return None
        if isinstance(decision, HitAndRefresh | StaleAndRefresh) and ask.key not in self._renewing:
            self._renewing.add(ask.key)
            spawn(self._renew(ask), name="cache-refresh")
        if level == "l2":
            self._local.put(ask.space.name, ask.key, entry, now, self._draw())
        return Found(entry, level, now)

    async def _fly(self, ask: _Ask) -> Found:
        """One flight per key: the first asker starts it, the others wait for the same result."""
        flight = self._flights.get(ask.key)
        first = flight is None
        if flight is None:
            flight = spawn(self._fill(ask), name="cache-fill")
            self._flights[ask.key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(ask.key, None))
        outcome = await asyncio.shield(flight)
        if isinstance(outcome, _Failed):
            raise outcome.error
        if first or outcome.cached:
            return outcome
        return Found(outcome.entry, outcome.level, outcome.at, collapsed=True)

    async def _fill(self, ask: _Ask) -> Found | _Failed:
        stale: Entry | None = None
        if self._uses_shared(ask):
            stale = await self._shared.get(ask.key)
            found = self._decide(ask, stale, "l2")
            if found is None and not await self._shared.lock(ask.key):
                found = await self._wait(ask, stale)
            if found is not None:
                return found
        try:
            return await self._fetch(ask)
        except Exception as error:  # noqa: BLE001  # whatever the origin's driver raises; who waits gets it
            await self._unlock(ask)
            stand_in = None if isinstance(error, OwnError) else self._stand_in(stale)
            if stand_in is None:
                return _Failed(error)
            log.info("origin failed, served stale", namespace=ask.space.name, error=type(error).__name__)
            return stand_in

    def _stand_in(self, stale: Entry | None) -> Found | None:
        now = self._clock()
        return Found(stale, "l2", now) if stale is not None and isinstance(on_error(stale, now), Stale) else None

    async def _wait(self, ask: _Ask, stale: Entry | None) -> Found | None:
        """Another api calls the origin: what may stand in meanwhile, or its result; None after half a second: call it
        too.
        """
        found = self._stand_in(stale)
        until = monotonic() + WAIT_MAX_S
        while found is None and monotonic() < until and self._shared.up:
            await asyncio.sleep(WAIT_STEP_S)
            found = self._decide(ask, await self._shared.get(ask.key), "l2")
        return found

    async def _fetch(self, ask: _Ask) -> Found:
        began = monotonic()
        fetched = await ask.fetch()
        delta_ms = (monotonic() - began) * 1000
        now = self._clock()
        entry = self._entry(ask.space, fetched, now, delta_ms)
        self._local.put(ask.space.name, ask.key, entry, now, self._draw())
        if self._uses_shared(ask):
            spawn(self._shared.put(ask.key, entry, now), name="cache-put")
        return Found(entry, "origin", now)

    def _entry(self, space: Namespace, fetched: Fetched | None, now: float, delta_ms: float) -> Entry:
        """Lifetimes spread by ± 10 %, so that what was filled together does not end together."""
        if fetched is None:
            until = now + NEGATIVE_TTL_S
            return Entry(b"", "", now, until, until, delta_ms, negative=True)
        fresh = now + space.ttl_s * (0.9 + 0.2 * self._draw())
        return Entry(fetched.body, fetched.etag, now, fresh, fresh + space.stale_s, delta_ms, negative=False)

    async def _renew(self, ask: _Ask) -> None:
        """In the background, one at a time per key and, while Redis is there, over all apis."""
        try:
            if not self._uses_shared(ask) or await self._shared.lock(ask.key):
                await self._fetch(ask)
        except Exception as error:  # noqa: BLE001  # the entry still stands; the next reader tries again
            await self._unlock(ask)
            log.info("cache refresh failed", namespace=ask.space.name, error=type(error).__name__)
        finally:
            self._renewing.discard(ask.key)

    async def _unlock(self, ask: _Ask) -> None:
        if self._uses_shared(ask):
            await self._shared.unlock(ask.key)

    def _uses_shared(self, ask: _Ask) -> bool:
        return self._shared.up and not self.generations.owed(ask.space.name)

    def _stepped(self, namespace: str) -> None:
        self._local.drop_namespace(namespace)

    def _dropped(self, namespace: str, hashed: str) -> None:
        self._local.drop(key(namespace, self.generations.number(namespace), hashed))

    def _heard(self, channel: str, payload: str) -> None:
        kind, _, name = payload.partition(":")
        if channel == CHANNEL:
            self.generations.on_message(payload)
        elif kind == "user" and PROFILES in self.namespaces:
            spawn(self._forget(PROFILES, (name,)), name="cache-forget")

    async def _forget(self, namespace: str, parameters: tuple[str, ...]) -> None:
        """One entry, here and in L2; every api does the same with what it hears."""
        at = key(namespace, self.generations.number(namespace), digest(parameters))
        self._local.drop(at)
        await self._shared.drop(at)

    def _store_seen(self, up: bool) -> None:
        self._shared.up = up

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            self._local.sweep(self._clock())
            await self.generations.poll()
