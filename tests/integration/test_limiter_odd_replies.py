"""Whatever Redis says, no decision waits beyond its deadline and nobody gets another caller's (reliability.md F11).

In-process, so that the wait is the limiter's own and not a loaded machine's; the stub's right answers tell whose they
are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from services.core.limits import SLIDING, Limit
from services.gateway.limiter import Decision, Limiter
from services.runtime.limit_script import SCRIPT, SPEND, limit_key, script_call
from services.runtime.redis_batch import LOST, RedisBatch
from services.runtime.resp import command
from services.schema.tiers import Policy, Tier, TiersSpec, document
from tests.harness.pulse import Pulse, pulse
from tests.harness.resp_stub import SCRIPTS, RespStub, resp_stub
from tests.harness.wait import eventually

QUOTA = 1_000_000
CALLERS = 20
LIMIT = Limit(SLIDING, QUOTA, 3_600_000)
STRIDE = 1_000  # caller i has used i * STRIDE before: a reading tells whose it is
WAIT_S = 0.020
SLACK_S = 0.010  # the timer's 5 ms, and what a callback takes
TIERS = document(
    1,
    TiersSpec(
        tiers=(Tier(name="t", criticality="critical", policies=(Policy(name="t", quota=QUOTA, window=3600),)),),
        anonymous_tier="t",
        default_tier="t",
        routes=(),
    ),
)


class Caller:
    def __init__(self, number: int) -> None:
        self.identifier, self.tier, self.owner = f"key:{number}", "t", ""
        self.number = number
        self.limiter: Any = None


@dataclass(slots=True)
class Answered:
    caller: Caller
    decision: Decision
    waited_s: float


@dataclass(slots=True)
class Gateway:
    """A limiter over the stub, and session look-ups on the same connection."""

    stub: RespStub
    batch: RedisBatch
    limiter: Limiter
    pulse: Pulse

    def check(self, found: list[Answered]) -> None:
        """All admitted (the quota is far), each in time, each with its own counter."""
        for answered in found:
            assert answered.decision.admitted
            assert answered.waited_s <= WAIT_S + SLACK_S + 2 * self.pulse.late_s
            if not answered.decision.degraded:
                used, own = answered.decision.readings[0].used, answered.caller.number * STRIDE
                assert own < used < own + STRIDE, "another caller's reply"

    async def ask(self, caller: Caller, cost: int = 1) -> Answered:
        told: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        sent = time.monotonic()
        subject = self.limiter.subject(caller, "192.0.2.1", sent)

        def then(_ticket: Any, decision: Decision) -> None:
            told.set_result(Answered(caller, decision, time.monotonic() - sent))

        decision = self.limiter.check(subject, cost, sent, then, None)
        if decision is not None:
            then(None, decision)
        return await told

    async def get(self, key: str) -> Any:
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self.batch.submit(command("GET", key), lambda _, reply: told.set_result(reply), None):
            return LOST
        return await told


@pytest.fixture
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[Gateway]:
    """Its parameter, if a test gives one, is LIMITER_TIMEOUT_MS."""
    async with resp_stub() as stub, pulse() as beats:
        batch = RedisBatch(stub.url, scripts=[SCRIPT], timeout_ms=getattr(request, "param", 20), draw=lambda: 0.0)
        assert await batch.start(5)
        yield Gateway(stub, batch, Limiter(batch, TIERS, gateways=lambda: 2, draw=lambda: 0.0), beats)
        batch.close()
        await asyncio.sleep(0)  # transports close on the next tick


@pytest.mark.parametrize("name", SCRIPTS)
async def test_odd_replies(gateway: Gateway, name: str) -> None:
    """No request fails, none waits beyond its deadline, replies reach their senders; afterwards all is exact again."""
    stub, callers = gateway.stub, [Caller(i) for i in range(CALLERS)]
    for caller in callers:
        stub.values[f"sess:{caller.number}"] = str(caller.number).encode()
        spent = script_call(SPEND, caller.number * STRIDE, [limit_key(caller.identifier, "t")], [LIMIT])
        stub.counters.evalsha(spent[1:], time.time_ns() // 1000)
    stub.odd = SCRIPTS[name]
    for _ in range(5):
        gateway.check(await asyncio.gather(*(gateway.ask(caller) for caller in callers)))
    stub.odd = None

    async def exact() -> bool:
        gateway.batch._breaker._closed_at = float("-inf")  # else it must be steady for 5 s: F12's, not this one
        found = await asyncio.gather(*(gateway.ask(caller) for caller in callers))
        gateway.check(found)
        return not any(answered.decision.degraded for answered in found)

    await eventually(exact, 5, "all decisions come from Redis again")
    found = [await gateway.get(f"sess:{i}") for i in range(CALLERS)]
    assert all(value in (LOST, b"%d" % i) for i, value in enumerate(found))
    assert found.count(LOST) < CALLERS


@pytest.mark.parametrize("gateway", [1000], indirect=True)  # exact counts on a crowded machine
async def test_a_flush_of_scripts_loads_once(gateway: Gateway) -> None:
    """SCRIPT FLUSH under traffic: one SCRIPT LOAD, no decision from local state."""
    gateway.stub.scripts.clear()
    before = gateway.stub.count(b"SCRIPT")
    found = await asyncio.gather(*(gateway.ask(Caller(0)) for _ in range(50)))
    assert not any(answered.decision.degraded for answered in found)
    assert sorted(answered.decision.readings[0].used for answered in found) == list(range(1, 51))
    assert gateway.stub.count(b"SCRIPT") == before + 1


async def test_no_more_than_three_samples(gateway: Gateway) -> None:
    """A silent Redis: once three have waited, nobody waits any more, and those who wait are told at once."""
    gateway.stub.odd = SCRIPTS["silence"]
    found = await asyncio.gather(*(gateway.ask(Caller(i)) for i in range(200)))
    assert gateway.batch.open
    assert gateway.batch.timeouts <= 3
    gateway.check(found)
    after = await gateway.ask(Caller(0))
    assert after.waited_s < 0.005 + gateway.pulse.late_s
    assert after.decision.degraded
