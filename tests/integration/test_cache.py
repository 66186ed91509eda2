"""The two-level cache over real Valkey, in one process, in two, and without the store: data-path.md 8, contract.md
10.8, reliability.md P19, F23.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio

from services.api.cache import Cache, Fetched, Found, Namespace
from services.runtime.metrics import Metrics
from services.runtime.redis import connect
from tests.harness.fleet import Fleet, Node
from tests.harness.stores import Database, ValkeyServer
from tests.harness.wait import eventually
from tests.integration.api_process import ADMIN_SESSION, USER_SESSION, Api
from tests.integration.signed import send

PATH = "/api/v1/resources"
FORBIDDEN = {"KEYS", "SCAN", "FLUSHDB", "FLUSHALL", "HSCAN", "SSCAN", "ZSCAN", "CONFIG"}


@asynccontextmanager
async def opened(valkey: ValkeyServer, *, ttl_s: float = 300) -> AsyncIterator[Cache]:
    store = connect(valkey.url)
    cache = Cache(
        store,
        (Namespace("things", ttl_s, 3600), Namespace("users", 600, 3600)),
        max_items=1000,
        max_bytes=1 << 20,
        l1_ttl_s=5,
        draw=lambda: 1.0,
        metrics=Metrics("api", "1"),
        url=valkey.url,
    )
    await cache.start()
    try:
        yield cache
    finally:
        await cache.close()
        await store.aclose()


class Origin:
    """Counts its calls; answers after a while, or fails."""

    def __init__(self, delay_s: float = 0.05) -> None:
        self.calls = 0
        self.delay_s = delay_s
        self.failing = False
        self.value = b"1"

    async def __call__(self) -> Fetched:
        self.calls += 1
        value = self.value
        await asyncio.sleep(self.delay_s)
        if self.failing:
            raise OSError("the origin is away")
        return Fetched(value, '"t"')


async def read(fleet: Fleet, node: Node, path: str) -> str:
    answer = await send(fleet, node, "GET", path)
    assert answer.status_code == 200, answer.text
    name: str = answer.json()["resource"]["name"]
    return name


async def test_old_fault_8a(database: Database, valkey: ValkeyServer) -> None:
    """Clearing the cache leaves sessions and limit counters; no request sends KEYS, FLUSHDB or SCAN."""
    store = redis.asyncio.Redis.from_url(valkey.url)
    sent: set[str] = set()
    async with Fleet(database, valkey, gateways=0, balancers=0, apis=1) as fleet, store.monitor() as monitor:
        node = fleet.api_nodes[0]

        async def listen() -> None:
            async for command in monitor.listen():
                sent.add(command["command"].split(" ")[0].upper())

        listening = asyncio.get_running_loop().create_task(listen())
        other = redis.asyncio.Redis.from_url(valkey.url)
        await other.set("sess:abc", "1")
        await other.hset("rl:{user:x}:free", "c", 1)
        assert (await send(fleet, node, "GET", f"{PATH}/1")).json()["cached"] is False
        assert (await send(fleet, node, "GET", f"{PATH}/1")).json()["cached"] is True
        cleared = await send(fleet, node, "POST", "/api/v1/admin/cache/clear", ADMIN_SESSION)
        assert (cleared.status_code, cleared.json()) == (200, {"message": "Cache cleared"})
        for path in ("cache", "metrics", "dashboard", "circuit-breakers", "rate-limits/ip:192.0.2.1", "tiers"):
            assert (await send(fleet, node, "GET", f"/api/v1/admin/{path}", ADMIN_SESSION)).status_code == 200
        body = {"namespace": "lists"}
        assert (
            await send(fleet, node, "POST", "/api/v1/admin/cache/purge", ADMIN_SESSION, json=body)
        ).status_code == 200
        assert (await send(fleet, node, "GET", f"{PATH}/1")).json()["cached"] is False
        assert await other.exists("sess:abc", "rl:{user:x}:free") == 2
        listening.cancel()
        await other.aclose()
    await store.aclose()
    assert {"GET", "SET", "INCRBY"} <= sent
    assert not sent & FORBIDDEN


async def test_old_fault_8c(database: Database, valkey: ValkeyServer) -> None:
    """Purging one namespace leaves the others; a key is exact text, `.`, `*` and a common beginning match nothing
    else.
    """
    async with Fleet(database, valkey, gateways=0, balancers=0, apis=2) as fleet:
        one, other = fleet.api_nodes

        async def cached(path: str) -> bool:
            return bool((await send(fleet, other, "GET", path)).json()["cached"])

        async def purge(**body: object) -> dict[str, object]:
            answer = await send(fleet, one, "POST", "/api/v1/admin/cache/purge", ADMIN_SESSION, json=body)
            assert answer.status_code == 200, answer.text
            found: dict[str, object] = answer.json()
            return found

        for path in (PATH, f"{PATH}/1", f"{PATH}/11", f"{PATH}/12"):
            await send(fleet, other, "GET", path)
        for text in ("*", "1.", "1*", ".", "?", "[1]", ""):
            assert (await purge(namespace="resources", key=text))["matched"] == 0
        assert all([await cached(f"{PATH}/{n}") for n in (1, 11, 12)])
        assert await purge(namespace="resources", key="1", dryRun=True) == {
            "namespace": "resources",
            "matched": 1,
            "generation": 0,
            "dryRun": True,
        }
        assert await cached(f"{PATH}/1")
        assert (await purge(namespace="resources", key="1"))["matched"] == 1
        await eventually(lambda: _not(cached(f"{PATH}/1")), 1.0, "the purged entry is gone on the other api")
        assert all([await cached(f"{PATH}/{n}") for n in (11, 12)])
        assert (await purge(namespace="lists"))["generation"] == 1
        await eventually(lambda: _not(cached(PATH)), 1.0, "the purged namespace is empty on the other api")
        assert await cached(f"{PATH}/12")
        unknown = {"namespace": "resource"}
        assert (
            await send(fleet, one, "POST", "/api/v1/admin/cache/purge", ADMIN_SESSION, json=unknown)
        ).status_code == 404


async def _not(answer: object) -> bool:
    return not await answer  # type: ignore[misc]


async def test_old_fault_8d(database: Database, valkey: ValkeyServer) -> None:
    """A write on one api is seen by every api within 1 s, ten times of ten, also when the subscriptions were just
    cut.
    """
    store = redis.asyncio.Redis.from_url(valkey.url)
    async with Fleet(database, valkey, gateways=0, balancers=0, apis=2) as fleet:
        one, other = fleet.api_nodes
        made = await send(fleet, one, "POST", PATH, USER_SESSION, json={"name": "0", "type": "document"})
        path = f"{PATH}/{made.json()['resource']['id']}"
        for number in range(1, 11):
            await read(fleet, one, path)
            await read(fleet, other, path)
            if number > 7:
                await store.client_kill_filter(_type="pubsub")
            body = {"name": str(number), "type": "document"}
            assert (await send(fleet, one, "PUT", path, USER_SESSION, json=body)).status_code == 200
            assert await read(fleet, one, path) == str(number)

            async def seen(expected: str = str(number)) -> bool:
                return await read(fleet, other, path) == expected

            await eventually(seen, 1.0, f"write {number} is seen by the other api")
    await store.aclose()


async def test_old_fault_8e(valkey: ValkeyServer) -> None:
    """1 000 parallel misses of one key: one call of the origin per process, at most two over all; all get the value."""
    origin = Origin()
    async with opened(valkey) as one, opened(valkey) as two:
        asked = [cache.get("things", ("7",), origin) for cache in (one, two) for _ in range(500)]
        found = await asyncio.gather(*asked)
        assert {f.entry.body for f in found} == {b"1"}
        assert origin.calls <= 2
        assert sum(f.result == "collapsed" for f in found) >= 400


async def test_stampede_on_real_processes(database: Database, valkey: ValkeyServer) -> None:
    """F23: two real apis, a hundred parallel misses each, caches just cleared: at most two calls of Postgres."""
    async with Fleet(database, valkey, gateways=0, balancers=0, apis=2) as fleet:
        await send(fleet, fleet.api_nodes[0], "POST", "/api/v1/admin/cache/clear", ADMIN_SESSION)
        asked = [read(fleet, node, f"{PATH}/5") for node in fleet.api_nodes for _ in range(100)]
        assert set(await asyncio.gather(*asked)) == {"Resource 5"}
        calls = 0
        for node in fleet.api_nodes:
            async with fleet.control(node) as control:
                text = await control.metrics()
            lines = [
                line for line in text.splitlines() if line.startswith('api_db_seconds_count{query="resources.get"}')
            ]
            calls += sum(int(float(line.split(" ")[1])) for line in lines)
        assert 1 <= calls <= 2


async def test_a_write_during_a_fill(valkey: ValkeyServer) -> None:
    """Invariant 34: what was read before a commit is not served after it, even if the origin's answer came later."""
    origin = Origin(delay_s=0.2)
    async with opened(valkey) as cache, opened(valkey) as other:
        slow = asyncio.ensure_future(cache.get("things", ("1",), origin))
        await eventually(lambda: origin.calls == 1, 1.0, "the origin is asked")
        origin.value = b"2"
        await other.changed("things")
        await eventually(lambda: cache.generations.number("things") == 1, 1.0, "the step is heard")
        assert (await slow).entry.body == b"1"
        origin.delay_s = 0
        assert (await cache.get("things", ("1",), origin)).entry.body == b"2"
        assert (await other.get("things", ("1",), origin)).entry.body == b"2"


async def test_second_level(valkey: ValkeyServer) -> None:
    """What one process has fetched, another finds in L2; then it is in both memories."""
    origin = Origin(delay_s=0)
    async with opened(valkey) as one, opened(valkey) as two:
        assert (await one.get("things", ("1",), origin)).result == "miss"

        async def found() -> bool:
            return (await two.get("things", ("1",), origin)).result == "l2_hit"

        await asyncio.sleep(0.05)  # the write to L2 is not waited for
        assert await found()
        assert (await two.get("things", ("1",), origin)).result == "l1_hit"
        assert origin.calls == 1


async def test_store_away(own_valkey: ValkeyServer) -> None:
    """Redis killed: single flight per process, L1 alone, nobody waits; a write is seen at once here, and by all once
    it is back.
    """
    origin = Origin(delay_s=0.01)
    async with opened(own_valkey) as one, opened(own_valkey) as two:
        await one.get("things", ("1",), origin)
        own_valkey.kill()
        origin.value = b"2"
        started = time.monotonic()
        await one.changed("things")
        found = await asyncio.gather(*(one.get("things", ("1",), origin) for _ in range(50)))
        assert time.monotonic() - started < 10
        assert {f.entry.body for f in found} == {b"2"}
        assert origin.calls == 2
        assert one.generations.owed("things")
        started = time.monotonic()
        assert (await one.get("things", ("9",), origin)).result == "miss"
        assert time.monotonic() - started < 2
        await own_valkey.start()
        await eventually(lambda: not one.generations.owed("things"), 3.0, "the owed step is made")
        await eventually(
            lambda: one.generations.number("things") == two.generations.number("things") > 0,
            3.0,
            "both know the number",
        )
        assert (await two.get("things", ("1",), origin)).entry.body == b"2"


async def test_emptied_store(valkey: ValkeyServer) -> None:
    """A Redis that came back empty does not bring an old generation back: all agree on one above what they knew."""
    origin = Origin(delay_s=0)
    async with opened(valkey) as one, opened(valkey) as two:
        for _ in range(5):
            await one.changed("things")
        await eventually(lambda: two.generations.number("things") == 5, 1.0, "the steps are heard")
        await valkey.flush()
        await eventually(
            lambda: one.generations.number("things") == two.generations.number("things") > 5,
            3.0,
            "a new number is agreed",
        )
        assert (await one.get("things", ("1",), origin)).result == "miss"


async def test_stale_while_the_database_is_away(database: Database, valkey: ValkeyServer) -> None:
    """P6: past its time and without a database a cached thing is served with `_stale`, a negative ttl and X-Cache
    STALE; an unknown one is 503.
    """
    async with Api.open(database, valkey, cache_ttl="1", cache_l1_ttl_ms="200") as api:
        await api.get(f"{PATH}/1")
        api.service.services.db._shut_until = time.monotonic() + 600

        async def stale() -> bool:
            answer = await api.get(f"{PATH}/1")
            assert answer.status_code == 200
            return bool(answer.headers["x-cache"] == "STALE")

        await eventually(stale, 3.0, "the entry has passed its time")
        answer = await api.get(f"{PATH}/1")
        assert answer.json()["_stale"] is True
        assert answer.json()["cached"] is True
        assert "ttl=-" in answer.headers["cache-status"]
        away = await api.get(f"{PATH}/2")
        assert (away.status_code, away.json()["dependency"]) == (503, "database")


async def test_profile_follows_a_change_by_hand(database: Database, valkey: ValkeyServer) -> None:
    """A user's row changed in SQL shows in `~/me` within 2 s: trigger, relay, message."""
    async with Api.open(database, valkey) as api:
        assert (await api.get("/api/v1/me", USER_SESSION)).json()["user"]["tier"] == "free"

        async def changed() -> bool:
            answer = await api.get("/api/v1/me", USER_SESSION)
            return bool(answer.json()["user"]["tier"] == "pro")

        await eventually(lambda: api.service._relay.alive, 3.0, "the relay listens")
        await api.sql("UPDATE users SET tier = 'pro' WHERE email = 'user@example.com'")
        await eventually(changed, 2.0, "the new tier shows")


@pytest.mark.parametrize("size", [70_000, 300_000])
async def test_large_entries(valkey: ValkeyServer, size: int) -> None:
    """Above 64 KiB a body is not kept in L1, above 256 KiB not in L2: then each look-up is a call of the origin."""

    async def fetch() -> Fetched:
        return Fetched(b"x" * size)

    async with opened(valkey) as cache:
        found: Found = await cache.get("things", ("1",), fetch)
        assert found.result == "miss"
        await asyncio.sleep(0.05)
        again = await cache.get("things", ("1",), fetch)
        assert again.result == ("l2_hit" if size < 262_144 else "miss")
        assert cache.size()[0] == 0
