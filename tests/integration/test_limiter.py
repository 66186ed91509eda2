"""The limiter against a real Valkey: the script is core's arithmetic, quotas are exact over gateways, waits are
honest.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio as aioredis

from services.core.limits import CALENDAR, CONCURRENCY, GCRA, LEASE_MS, LOG, SLIDING, Carry, Limit, State, decide
from services.gateway.limiter import Decision, Limiter
from services.runtime.limit_script import PEEK, SCRIPT, SPEND, limit_key, read_reply, script_call
from services.runtime.redis_batch import RedisBatch
from services.schema.tiers import BUILT_IN, Policy, Tier, TiersDocument, TiersSpec, document
from tests.harness.stores import ValkeyServer
from tests.harness.wait import eventually

T0 = 1_700_000_000_000_000
CLOCK = b"local t = redis.call('TIME')\n"
OWN_CLOCK = b"local t = {ARGV[#ARGV - 1], ARGV[#ARGV]}\n"  # the test's time, as the last two arguments


class Caller:
    def __init__(self, identifier: str = "key:a", tier: str = "t") -> None:
        self.identifier, self.tier, self.owner = identifier, tier, ""
        self.limiter: Any = None


def tiers(*policies: Policy) -> TiersDocument:
    tier = Tier(name="t", criticality="critical", policies=policies)
    return document(1, TiersSpec(tiers=(tier,), anonymous_tier="t", default_tier="t", routes=()))


class Gateway:
    """One gateway's limiter on a connection of its own."""

    def __init__(self, batch: RedisBatch, built: TiersDocument, gateways: int = 1) -> None:
        self.batch = batch
        self.limiter = Limiter(batch, built, gateways=lambda: gateways, draw=lambda: 0.0)
        self.caller = Caller()

    async def ask(self, cost: int = 1) -> Decision:
        answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        now = time.monotonic()
        subject = self.limiter.subject(self.caller, "192.0.2.1", now)
        decision = self.limiter.check(subject, cost, now, lambda _, d: answer.set_result(d), None)
        return decision if decision is not None else await answer


Open = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Opens gateways and closes them."""
    batches: list[RedisBatch] = []

    async def opened(url: str, built: TiersDocument, gateways: int = 1) -> Gateway:
        batch = RedisBatch(url, scripts=[SCRIPT], timeout_ms=200)  # two cores, many tests: no false timeouts
        batches.append(batch)
        assert await batch.start(5)
        return Gateway(batch, built, gateways)

    yield opened
    for batch in batches:
        batch.close()
    await asyncio.sleep(0)  # transports close on the next tick


@pytest.fixture
async def client(valkey: ValkeyServer) -> AsyncIterator[aioredis.Redis]:
    async with aioredis.Redis.from_url(valkey.url, decode_responses=False) as client:
        yield client


def random_limits(draw: random.Random) -> list[Limit]:
    algorithms = [SLIDING, GCRA, CALENDAR, LOG, CONCURRENCY]
    return [
        Limit(
            draw.choice(algorithms),
            draw.choice([1, 3, 7, 50, 600]),
            draw.choice([1000, 3000, 60_000]),
            draw.random() < 0.7,
        )
        for _ in range(draw.randint(1, 4))
    ]


@pytest.mark.parametrize("seed", range(12))
async def test_script_is_core(client: aioredis.Redis, seed: int) -> None:
    """Random limits, costs, times (backwards too), peeks, carries: the same replies, the same keys (invariant 11)."""
    assert SCRIPT.startswith(CLOCK)
    sha = await client.script_load(SCRIPT.replace(CLOCK, OWN_CLOCK, 1))
    draw = random.Random(seed)
    limits = random_limits(draw)
    keys = [limit_key(f"key:{seed}", str(i)) for i in range(len(limits))]
    states: list[State | None] = [None] * len(limits)
    us = T0 + draw.randrange(10**9)
    for step in range(400):
        us += draw.choice([0, 1, 999, 40_000, 700_000, 2_900_000, -1_300_000])
        cost, spend = draw.randint(1, 4), draw.random() < 0.8
        nothing = draw.random() < 0.8
        carries = [Carry(0, 0) if nothing else Carry(draw.randint(0, 2), draw.randint(2, 4)) for _ in limits]
        call = script_call(SPEND if spend else PEEK, cost, keys, limits, carries, lease=f"lease-{step}")
        reply = await client.execute_command(  # type: ignore[no-untyped-call]
            "EVALSHA", sha, *call[1:], us // 1_000_000, us % 1_000_000
        )
        expected = decide(limits, states, cost, us, spend=spend, carries=carries)
        found = read_reply(reply, len(limits))
        assert found is not None
        assert (found.admitted, found.us, found.readings) == (expected.admitted, us, expected.readings)
        states = expected.states
        for limit, key, state in zip(limits, keys, states, strict=True):
            assert await held(client, key, limit) == state
            assert state is None or 0 < await client.pttl(key) <= max(2 * limit.window_ms, LEASE_MS)


async def held(client: aioredis.Redis, key: str, limit: Limit) -> State | None:
    if limit.algorithm == LOG:
        times = tuple(int(time) for time in await client.lrange(key, 0, -1))
        return State(times[-1], len(times), 0, times) if times else None
    if limit.algorithm == CONCURRENCY:
        pairs: list[Any] = list(await client.zrange(key, 0, -1, withscores=True))
        ends = tuple(int(end) for _, end in pairs)
        return State(0, len(ends), 0, ends) if ends else None
    names = ("t", "x") if limit.algorithm == GCRA else ("i", "c", "p")
    values = list(await client.hmget(key, list(names)))
    if values[0] is None:
        return None
    numbers = [int(value) for value in values if value is not None]
    return State(numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 0)


async def test_a_changed_algorithm_or_window_is_no_error(opened: Open, valkey: ValkeyServer) -> None:
    """A document that changes a policy's algorithm or window meets the old key without an error, and starts afresh. (But
    for a shorter window that begins where the longer one did: that one goes on.)
    """
    # the short window before the current one counts as well; and the minute must not end meanwhile
    await eventually(lambda: 4 < time.time() % 60 < 57, 8, "the minute is older than two short windows")
    gateway = await opened(valkey.url, tiers(Policy(name="p", quota=60, window=60)))
    assert [(await gateway.ask(cost)).admitted for cost in (59, 1, 1)] == [True, True, False]
    for changed in (
        Policy(name="p", quota=60, window=60, algorithm="gcra"),
        Policy(name="p", quota=60, window=60, algorithm="log"),
        Policy(name="p", quota=60, window=2),
    ):
        gateway.limiter.configure(tiers(changed))
        found = [await gateway.ask() for _ in range(3)]
        assert not any(d.degraded for d in found)
        assert found[0].admitted


async def test_old_fault_3a(opened: Open, valkey: ValkeyServer) -> None:
    """64 parallel clients over 4 gateways at limit 100: exactly 100 admitted."""
    gateways = [await opened(valkey.url, tiers(Policy(name="t", quota=100, window=3600))) for _ in range(4)]
    admitted = 0

    async def client(i: int) -> None:
        nonlocal admitted
        for _ in range(10):
            decision = await gateways[i % 4].ask()
            assert not decision.degraded
            admitted += decision.admitted

    await asyncio.gather(*(client(i) for i in range(64)))
    assert admitted == 100


async def test_old_fault_2b(opened: Open, valkey: ValkeyServer, client: aioredis.Redis) -> None:
    """Refusals leave the caller's key as it is: less than 1 KiB, with a time to live."""
    gateway = await opened(valkey.url, tiers(Policy(name="t", quota=10, window=60)))
    for _ in range(2000):
        await gateway.ask()
    key = limit_key("key:a", "t", LOG)
    assert 0 < (await client.memory_usage(key) or 0) < 1024
    assert 0 < await client.pttl(key) <= 120_000


@pytest.mark.parametrize(
    "policy", [Policy(name="t", quota=3, window=2), Policy(name="t", quota=7, window=1, algorithm="gcra")]
)
async def test_waits_are_honest_in_real_time(opened: Open, valkey: ValkeyServer, policy: Policy) -> None:
    """Asked at its wait a client is admitted; asked shortly before it is refused, by Redis too."""
    gateway = await opened(valkey.url, tiers(policy))
    other = await opened(valkey.url, tiers(policy))
    until = 0.0
    for _ in range(policy.quota + 1):
        await gateway.ask()
    subject = gateway.limiter.subject(gateway.caller, "", time.monotonic())
    until = subject.until
    assert until > time.monotonic()
    await asyncio.sleep(max(0.0, until - 0.03 - time.monotonic()))
    assert not (await other.ask()).admitted
    await asyncio.sleep(max(0.0, until + 0.003 - time.monotonic()))
    assert (await other.ask()).admitted


async def test_retry_after_is_kept(opened: Open, valkey: ValkeyServer) -> None:
    """A client that waits for Retry-After is admitted."""
    gateway = await opened(valkey.url, tiers(Policy(name="t", quota=2, window=1, algorithm="sliding")))
    decision = await gateway.ask()
    while decision.admitted:
        decision = await gateway.ask()
    wait_s = decision.refusal(0.0).retry_after_s
    assert wait_s is not None
    await asyncio.sleep(wait_s)
    assert (await gateway.ask()).admitted


async def test_several_policies_and_peeks(opened: Open, valkey: ValkeyServer, client: aioredis.Redis) -> None:
    """All or nothing on real keys; ten peeks change nothing (old fault 6b)."""
    gateway = await opened(
        valkey.url, tiers(Policy(name="a", quota=50, window=3600), Policy(name="b", quota=5, window=3600))
    )
    results = [(await gateway.ask()).admitted for _ in range(8)]
    assert results == [True] * 5 + [False] * 3
    subject = gateway.limiter.subject(gateway.caller, "", time.monotonic())
    keys = [limit_key("key:a", name, LOG) for name in "ab"]
    before = [await client.lrange(key, 0, -1) for key in keys]
    assert [len(times) for times in before] == [5, 5]
    for _ in range(10):
        peeked = await gateway.limiter.peek(subject, 1)
        assert [r.passes for r in peeked.readings] == [True, False]
    assert [await client.lrange(key, 0, -1) for key in keys] == before


async def test_a_flushed_script_is_loaded_again(opened: Open, valkey: ValkeyServer, client: aioredis.Redis) -> None:
    """SCRIPT FLUSH under traffic: no decision is local, none is wrong."""
    gateway = await opened(valkey.url, tiers(Policy(name="t", quota=100, window=3600)))
    await client.script_flush()
    found = await asyncio.gather(*(gateway.ask() for _ in range(40)))
    assert all(d.admitted and not d.degraded for d in found)
    assert found[-1].readings[0].used <= 40


async def test_old_fault_6a(opened: Open, own_valkey: ValkeyServer) -> None:
    """Redis killed: no request waits, those admitted stay within 1.25 x the limit, degraded is told; back: in sync
    within 1 s.
    """
    built = tiers(Policy(name="t", quota=200, window=3600))
    gateways = [await opened(own_valkey.url, built, gateways=2) for _ in range(2)]
    admitted = 0
    for i in range(80):
        admitted += (await gateways[i % 2].ask()).admitted
    own_valkey.kill()
    await eventually(lambda: all(g.batch.open for g in gateways), 1, "the loss is noticed")
    for i in range(400):
        started = time.monotonic()
        decision = await gateways[i % 2].ask()
        assert time.monotonic() - started < 0.02
        assert b"RateLimit-Degraded: ?1" in decision.lines()
        admitted += decision.admitted
    assert 200 <= admitted <= 250
    await own_valkey.start()
    await eventually(lambda: not any(g.batch.open for g in gateways), 1, "both are back")
    for i in range(200):
        decision = await gateways[i % 2].ask()
        assert not decision.degraded
        admitted += decision.admitted
    assert admitted <= 250


async def test_built_in_tiers_run(opened: Open, valkey: ValkeyServer) -> None:
    """The document every gateway starts with."""
    gateway = await opened(valkey.url, BUILT_IN)
    gateway.caller.tier = "pro"
    found = await gateway.ask()
    assert found.lines().startswith(
        b'RateLimit-Policy: "pro";q=10000;w=60, "pro-burst";q=2000;w=1\r\nRateLimit: "pro";r=9999;t='
    )
