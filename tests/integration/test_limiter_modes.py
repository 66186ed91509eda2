"""Four gateways, eight clients each, one caller's quota: the bounds of data-path.md section 5 while Valkey is there,
killed, stopped, flapping, or back without its data (reliability.md F9, F10, F12, F22).

In one process, so that a wait is the limiter's own: each decision is due 20 ms after it was asked for, the timer's 5
ms and as much as the loop itself was late.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.gateway.limiter import Decision, Limiter
from services.runtime.limit_script import SCRIPT
from services.runtime.redis_batch import RedisBatch
from services.schema.tiers import OnStoreFailure, Policy, Tier, TiersDocument, TiersSpec, document
from tests.harness.pulse import Pulse, pulse
from tests.harness.stores import ValkeyServer
from tests.harness.wait import eventually

GATEWAYS, CLIENTS = 4, 8
WAIT_S, SLACK_S = 0.020, 0.010
HOUR_S = 3600
PATIENT_MS = 1000
"""On a crowded machine a reply may take longer than 20 ms; such a decision is local, and these tests count exactly."""


class Caller:
    def __init__(self, identifier: str) -> None:
        self.identifier, self.tier, self.owner = identifier, "t", ""
        self.limiter: Any = None


def tiers(quota: int, on_store_failure: OnStoreFailure = "local") -> TiersDocument:
    policy = Policy(name="t", quota=quota, window=HOUR_S, on_store_failure=on_store_failure)
    tier = Tier(name="t", criticality="critical", policies=(policy,))
    return document(1, TiersSpec(tiers=(tier,), anonymous_tier="t", default_tier="t", routes=()))


class Gateway:
    def __init__(self, url: str, built: TiersDocument, timeout_ms: int, **more: Any) -> None:
        self.opened = 0
        self.batch = RedisBatch(url, scripts=[SCRIPT], timeout_ms=timeout_ms, on_state=self._state)
        self.limiter = Limiter(self.batch, built, gateways=lambda: GATEWAYS, draw=lambda: 0.0, **more)

    def _state(self, away: bool) -> None:
        self.opened += away

    async def ask(self, caller: Caller) -> tuple[Decision, float]:
        """The decision, and how long it took."""
        told: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        sent = time.monotonic()
        took = 0.0

        def then(_ticket: Any, decision: Decision) -> None:
            nonlocal took
            took = time.monotonic() - sent
            told.set_result(decision)

        subject = self.limiter.subject(caller, "192.0.2.1", sent)
        decision = self.limiter.check(subject, 1, sent, then, None)
        if decision is not None:
            then(None, decision)
        return await told, took


@dataclass(slots=True)
class Fleet:
    gateways: list[Gateway]
    beats: Pulse
    decisions: list[Decision] = field(default_factory=list)
    worst_s: float = 0.0
    stopped: bool = False

    @property
    def admitted(self) -> int:
        return sum(decision.admitted for decision in self.decisions)

    @property
    def there(self) -> bool:
        return not any(gateway.batch.open for gateway in self.gateways)

    async def ask(self, gateway: Gateway, caller: Caller) -> Decision:
        decision, took = await gateway.ask(caller)
        self.decisions.append(decision)
        self.worst_s = max(self.worst_s, took)
        return decision

    async def run(self, caller: str, requests: int, pause_s: float = 0.0) -> None:
        """Eight clients at each gateway, so many requests each; fewer if `stopped` is set."""

        async def client(gateway: Gateway, who: Caller) -> None:
            for _ in range(requests):
                if self.stopped:
                    return
                await self.ask(gateway, who)
                await asyncio.sleep(pause_s)

        callers = [Caller(caller) for _ in self.gateways]
        await asyncio.gather(
            *(client(g, who) for g, who in zip(self.gateways, callers, strict=True) for _ in range(CLIENTS))
        )

    def in_time(self) -> bool:
        return self.worst_s <= WAIT_S + SLACK_S + 2 * self.beats.late_s


Open = Callable[..., Awaitable[Fleet]]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Opens four gateways and closes them. The hour must not end meanwhile."""
    await eventually(lambda: time.time() % HOUR_S < HOUR_S - 20, 25, "the hour is young enough")
    found: list[Gateway] = []
    async with pulse() as beats:

        async def opened(url: str, built: TiersDocument, timeout_ms: int = 20, **more: Any) -> Fleet:
            found.extend(Gateway(url, built, timeout_ms, **more) for _ in range(GATEWAYS))
            assert all(await asyncio.gather(*(gateway.batch.start(5) for gateway in found)))
            return Fleet(found, beats)

        yield opened
        for gateway in found:
            gateway.batch.close()
        await asyncio.sleep(0)  # transports close on the next tick


async def test_exact_counters_are_one_to_n(opened: Open, valkey: ValkeyServer) -> None:
    """Exact: 0 above the limit. The counters returned are 1…n, none twice, none missing (F22)."""
    quota = 3000
    fleet = await opened(valkey.url, tiers(quota), PATIENT_MS)
    await fleet.run("key:exact", 100)
    assert not any(decision.degraded for decision in fleet.decisions)
    assert sorted(d.readings[0].used for d in fleet.decisions if d.admitted) == list(range(1, quota + 1))


async def test_lease_mode(opened: Open, valkey: ValkeyServer) -> None:
    """Units from memory: no more than the limit in an aligned window, refused early by at most a twentieth of it."""
    quota = 4000
    fleet = await opened(valkey.url, tiers(quota), PATIENT_MS, lease_min_quota=1000)
    await fleet.run("key:lease", 150)
    print(f"lease mode: {fleet.admitted} admitted of {quota} by {len(fleet.decisions)} requests")
    assert not any(decision.degraded for decision in fleet.decisions)
    assert quota - quota // 20 <= fleet.admitted <= quota


async def test_shadow_and_kill_switch(opened: Open, valkey: ValkeyServer) -> None:
    """LIMITER_ENABLED=false: everything is counted, nobody is refused, nothing is told."""
    fleet = await opened(valkey.url, tiers(60), PATIENT_MS, enabled=False)
    await fleet.run("key:shadow", 5)
    assert all(decision.admitted and decision.lines() == b"" for decision in fleet.decisions)
    assert sum(gateway.limiter.shadow_denied for gateway in fleet.gateways) == GATEWAYS * CLIENTS * 5 - 60


async def _killed(server: ValkeyServer, fleet: Fleet) -> None:
    server.kill()
    await eventually(lambda: not fleet.there, 2, "the loss is noticed")
    await asyncio.sleep(0.3)
    await server.start()  # empty


async def _stopped(server: ValkeyServer, fleet: Fleet) -> None:
    server.running.process.send_signal(signal.SIGSTOP)
    await eventually(lambda: not fleet.there, 2, "the silence is noticed")
    await asyncio.sleep(0.5)
    server.running.process.send_signal(signal.SIGCONT)


async def _flapping(server: ValkeyServer, _fleet: Fleet) -> None:
    for _ in range(3):
        server.running.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.5)
        server.running.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.7)


@pytest.mark.parametrize("fault", [_killed, _stopped, _flapping])
async def test_a_fault_under_load(opened: Open, own_valkey: ValkeyServer, fault: Any) -> None:
    """Every request is decided, none waits beyond 20 ms; with spread traffic at most 1.25 x the limit is admitted in
    the window of the switch, whether Redis comes back with its counters or without; a flapping one opens the breaker
    twice, not each time.
    """
    quota = 2000
    fleet = await opened(own_valkey.url, tiers(quota))
    load = asyncio.ensure_future(fleet.run("key:fault", 100_000, 0.02))
    await eventually(lambda: fleet.admitted >= quota // 4, 10, "some are admitted")
    await fault(own_valkey, fleet)
    if fault is not _flapping:  # that one must be steady for 5 s
        await eventually(lambda: fleet.there, 10, "Redis counts as there")
    await eventually(lambda: not fleet.decisions[-1].admitted, 10, "the quota is used up")
    fleet.stopped = True
    await load
    print(
        f"{fault.__name__}: {len(fleet.decisions)} decisions, {fleet.admitted} admitted of {quota}, "
        f"{sum(d.degraded for d in fleet.decisions)} local, worst wait {1000 * fleet.worst_s:.1f} ms "
        f"(loop late by {1000 * fleet.beats.late_s:.1f}), opened {[g.opened for g in fleet.gateways]}"
    )
    assert any(decision.degraded for decision in fleet.decisions)
    assert fleet.admitted <= 1.25 * quota
    assert fleet.in_time()
    assert all(gateway.opened <= 2 for gateway in fleet.gateways)


async def test_a_key_that_one_gateway_had_seen(opened: Open, own_valkey: ValkeyServer) -> None:
    """The others know nothing of it: less than twice the limit."""
    quota = 400
    fleet = await opened(own_valkey.url, tiers(quota), PATIENT_MS)
    caller = Caller("key:one")
    for _ in range(quota - 1):
        await fleet.ask(fleet.gateways[0], caller)
    own_valkey.kill()
    await eventually(lambda: all(gateway.batch.open for gateway in fleet.gateways), 2, "the loss is noticed")
    await fleet.run("key:one", quota // 4)
    assert quota <= fleet.admitted < 2 * quota


@pytest.mark.parametrize(
    ("policy", "least", "most"),
    [("local", 401, 401 + GATEWAYS - 1), ("closed", 4 * 200, 4 * 200), ("open", 32 * 60, 32 * 60)],
)
async def test_windows_without_redis(
    opened: Open, own_valkey: ValkeyServer, policy: OnStoreFailure, least: int, most: int
) -> None:
    """local: the limit and N - 1 by rounding; closed: half of it in each gateway; open: everybody."""
    fleet = await opened(own_valkey.url, tiers(401, policy))
    own_valkey.kill()
    await eventually(lambda: all(gateway.batch.open for gateway in fleet.gateways), 2, "the loss is noticed")
    await fleet.run("key:alone", 60)
    assert least <= fleet.admitted <= most
    assert all(decision.degraded for decision in fleet.decisions)
    assert fleet.in_time()


async def test_an_empty_return_admits_no_more(opened: Open, own_valkey: ValkeyServer) -> None:
    """All but a few were used; Redis comes back without its counters: what was used before stays used."""
    quota = 800
    fleet = await opened(own_valkey.url, tiers(quota), PATIENT_MS)
    await fleet.run("key:empty", (quota - 40) // (GATEWAYS * CLIENTS))
    before = fleet.admitted
    own_valkey.kill()
    await eventually(lambda: all(gateway.batch.open for gateway in fleet.gateways), 2, "the loss is noticed")
    await fleet.run("key:empty", 1)  # each gateway learns of its own window
    await own_valkey.start()
    await eventually(lambda: fleet.there, 5, "Redis counts as there")
    await fleet.run("key:empty", 20)
    assert before < fleet.admitted <= 1.25 * quota
