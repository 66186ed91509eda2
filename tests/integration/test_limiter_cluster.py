"""The limiter on a real Redis Cluster: a plain URL that meets MOVED becomes one connection per node."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from services.gateway.limiter import Decision, Limiter
from services.runtime.limit_script import SCRIPT, limit_key
from services.runtime.redis_batch import RedisBatch
from services.runtime.redis_cluster import slot_of
from services.runtime.resp import command
from services.schema.tiers import Policy, Tier, TiersSpec, document
from tests.harness.valkey_cluster import ClusterNode, valkey_cluster
from tests.harness.wait import eventually

CALLERS = 16
TIERS = document(
    1,
    TiersSpec(
        tiers=(Tier(name="t", criticality="critical", policies=(Policy(name="t", quota=1000, window=3600),)),),
        anonymous_tier="t",
        default_tier="t",
        routes=(),
    ),
)


class Caller:
    def __init__(self, number: int) -> None:
        self.identifier, self.tier, self.owner = f"key:{number}", "t", ""
        self.limiter: Any = None


async def ask(limiter: Limiter, caller: Caller) -> Decision:
    told: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
    now = time.monotonic()
    subject = limiter.subject(caller, "192.0.2.1", now)
    decision = limiter.check(subject, 1, now, lambda _, d: told.set_result(d), None)
    return decision if decision is not None else await told


async def test_moved_ask_and_a_lost_node() -> None:
    """All callers are counted exactly, each on its node; a slot on the move is followed; a node that dies makes its
    own callers local and nobody else's.
    """
    async with valkey_cluster() as nodes:
        batch = RedisBatch(nodes[0].url, scripts=[SCRIPT], timeout_ms=1000)  # counts exactly on a crowded machine
        assert await batch.start(5)
        limiter = Limiter(batch, TIERS, draw=lambda: 0.0)
        callers = [Caller(i) for i in range(CALLERS)]

        async def exact() -> bool:
            found = await asyncio.gather(*(ask(limiter, caller) for caller in callers))
            assert all(decision.admitted for decision in found)
            return not any(decision.degraded for decision in found)

        try:
            await eventually(exact, 10, "every node is known")
            before = [await ask(limiter, caller) for caller in callers]
            after = [await ask(limiter, caller) for caller in callers]
            assert [d.readings[0].used for d in after] == [d.readings[0].used + 1 for d in before]
            await _moves(nodes, callers[0], limiter)
            nodes[1].process.kill()
            await eventually(lambda: batch.degraded, 5, "the loss is noticed")
            found = await asyncio.gather(*(ask(limiter, caller) for caller in callers))
            assert all(decision.admitted for decision in found)
            assert {decision.degraded for decision in found} == {True, False}
            assert not batch.open
        finally:
            batch.close()
            await asyncio.sleep(0)  # transports close on the next tick


async def _moves(nodes: list[ClusterNode], caller: Caller, limiter: Limiter) -> None:
    """ASK: the slot is on its way to the other node, where the key is already."""
    key = limit_key(caller.identifier, "t")
    slot = slot_of(command("GET", key))
    owner, other = nodes if slot < 8192 else nodes[::-1]
    names = [_text(await node.run("CLUSTER", "MYID")) for node in (owner, other)]
    await other.run("CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
    await owner.run("CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])
    await owner.run("MIGRATE", "127.0.0.1", other.port, key, 0, 1000)
    used = (await ask(limiter, caller)).readings[0].used
    found = await ask(limiter, caller)
    assert not found.degraded
    assert found.readings[0].used == used + 1
    for node in (other, owner):
        await node.run("CLUSTER", "SETSLOT", slot, "NODE", names[1])
    found = await ask(limiter, caller)
    assert (found.degraded, found.readings[0].used) == (False, used + 2)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
