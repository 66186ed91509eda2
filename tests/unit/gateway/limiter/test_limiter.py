from __future__ import annotations

import asyncio
from dataclasses import dataclass

from services.gateway.limiter import Decision
from services.schema.tiers import BUILT_IN, Policy, Tier, TiersSpec, document
from tests.unit.gateway.limiter.store import Caller, FakeBatch, Gateway, Store


@dataclass
class Row:
    identifier: str
    requests_per_minute: int
    burst_limit: int | None = None
    mode: str = "enforce"
    seconds_left: float | None = None


def tiers(quota: int, mode: str = "enforce", cost: int = 0):
    policy = Policy(name="t", quota=quota, window=60, mode=mode)
    return document(
        1,
        TiersSpec(
            tiers=(Tier(name="t", criticality="critical", policies=(policy,)),),
            anonymous_tier="t",
            default_tier="t",
            routes=(),
        ),
    )


def test_several_policies_all_or_nothing() -> None:
    """The burst refuses: the minute is not charged."""
    store, caller = Store(), Caller("key:a", "free")
    gateway = Gateway(store)
    assert gateway.admitted(caller, 600) == 500
    store.now = 1.0
    found = gateway.ask(caller)
    assert found.admitted
    assert found.readings[0].used == 501


def test_a_new_document_meets_what_was_used() -> None:
    """Swapped in one assignment; keys stay; the deny cache is emptied."""
    store, caller = Store(), Caller("key:a", "t")
    gateway = Gateway(store, tiers(10))
    assert gateway.admitted(caller, 12) == 10
    gateway.limiter.configure(tiers(15))
    assert gateway.admitted(caller, 12) == 5
    gateway.limiter.configure(tiers(5))
    assert gateway.admitted(caller, 3) == 0


def test_overrides_come_and_go() -> None:
    """The override of a key, then of its owner; expiry without a message; 0 blocks without a command."""
    store, caller = Store(), Caller("key:a", "free", "user:u")
    gateway = Gateway(store)
    gateway.limiter.set_overrides([Row("user:u", 3, seconds_left=30.0)])
    assert gateway.admitted(caller, 5) == 3
    store.now = 31.0
    assert gateway.ask(caller).set.rules[0].name == "free"
    gateway.limiter.set_overrides([Row("key:a", 0)])
    sent = len(gateway.batch.sent)
    refused = gateway.ask(caller)
    assert not refused.admitted
    assert len(gateway.batch.sent) == sent
    gateway.limiter.set_overrides([])
    assert gateway.ask(caller).admitted


def test_an_addresses_override_binds_whoever_comes_from_there() -> None:
    """The same key is bound from that address only, and its own override goes before."""
    store, caller = Store(), Caller("key:a", "free")
    gateway = Gateway(store)
    gateway.limiter.set_overrides([Row("ip:10.0.0.0/8", 2)])
    assert [gateway.ask(caller, client="10.0.0.1").admitted for _ in range(3)] == [True, True, False]
    assert gateway.ask(caller, client="192.0.2.9").admitted
    assert not gateway.ask(caller, client="10.0.0.1").admitted


def test_old_fault_4() -> None:
    """Two keys behind one address each have a full quota; an address with a pro key has pro's limit."""
    store = Store()
    gateway = Gateway(store)
    one, two, pro = Caller("key:a", "free"), Caller("key:b", "free"), Caller("key:c", "pro")
    assert (gateway.admitted(one, 600), gateway.admitted(two, 600)) == (500, 500)
    assert gateway.ask(pro).set.rules[0].limit.quota == 10_000


def test_unknown_tier_is_the_default_one() -> None:
    """Counted, not refused."""
    gateway = Gateway(Store())
    assert gateway.ask(Caller("key:a", "platinum")).set.tier == "free"
    assert gateway.limiter.unknown_tiers == 1


def test_forget_empties_the_deny_cache() -> None:
    """An admin deleted the keys: the next request is admitted."""
    store, caller = Store(), Caller()
    gateway = Gateway(store)
    assert gateway.admitted(caller, 101) == 100
    store.counters.keys.clear()
    assert not gateway.ask(caller).admitted
    gateway.limiter.forget(caller.identifier)
    assert gateway.ask(caller).admitted


def test_shadow_and_kill_switch_refuse_nothing() -> None:
    """Counted as shadow_reject, admitted, not in the fields."""
    for gateway in (Gateway(Store(), tiers(3, "shadow")), Gateway(Store(), tiers(3), enabled=False)):
        caller = Caller("key:a", "t")
        assert gateway.admitted(caller, 10) == 10
        assert gateway.ask(caller).lines() == b""
        assert ("t", "t", "shadow_reject", 8) in list(gateway.limiter.counts.rows())
        assert gateway.limiter.shadow_denied == 8


def test_mode_off_is_absent() -> None:
    """No policy, no command, no field."""
    gateway = Gateway(Store(), tiers(3, "off"))
    found = gateway.ask(Caller("key:a", "t"))
    assert found.admitted
    assert (found.lines(), gateway.batch.sent) == (b"", [])


def test_decisions_are_counted() -> None:
    """admit, near (less than a fifth left), reject."""
    gateway, caller = Gateway(Store()), Caller()
    gateway.admitted(caller, 103)
    rows = {decision: n for tier, policy, decision, n in gateway.limiter.counts.rows() if policy == "anonymous"}
    assert rows == {"admit": 80, "near": 20, "reject": 3, "shadow_reject": 0}
    assert gateway.limiter.denied == 3


def test_a_cost_above_the_quota_is_capped() -> None:
    """An override may be below a route's cost: the request then needs a whole quota, not one that never comes."""
    gateway, caller = Gateway(Store()), Caller("key:a", "free")
    gateway.limiter.set_overrides([Row("key:a", 5)])
    assert gateway.ask(caller, 10).admitted
    assert not gateway.ask(caller, 1).admitted


def test_an_unusable_reply_is_decided_locally() -> None:
    """And counts as a failure of the store; a lost one was counted by the batch."""
    store, caller = Store(), Caller()
    gateway = Gateway(store)
    got: list[Decision] = []
    for reply, failures in ((b"OK", 1), ([1, 2], 2)):
        subject = gateway.limiter.subject(caller, "", 0.0)
        assert gateway.limiter.check(subject, 1, 0.0, lambda _, d: got.append(d), None) is None
        gateway.batch.flush(reply)
        assert got[-1].degraded
        assert gateway.batch.failures == failures
    assert isinstance(gateway.batch, FakeBatch)


def test_credentials_of_a_guessing_network() -> None:
    """30 bad ones, then every credential of that network is refused; without Redis half of that."""
    store = Store()
    gateway = Gateway(store)
    for _ in range(30):
        assert gateway.limiter.blocked("ip:192.0.2.1") is None
        gateway.limiter.failed("ip:192.0.2.1")
        gateway.batch.flush()
    refusal = gateway.limiter.blocked("ip:192.0.2.1")
    assert refusal is not None
    assert refusal.slug == "abnormal-usage-detected"
    assert gateway.limiter.blocked("ip:192.0.2.2") is None
    store.away = True
    assert gateway.limiter.blocked("ip:192.0.2.3") is None
    for _ in range(15):
        assert gateway.limiter.blocked("ip:192.0.2.3") is None
        gateway.limiter.failed("ip:192.0.2.3")
    assert gateway.limiter.blocked("ip:192.0.2.3") is not None


async def test_old_fault_6b() -> None:
    """Peeks change no counter, show the caller's own set, and say what the next request meets."""
    store, caller = Store(), Caller()
    gateway = Gateway(store)
    gateway.admitted(caller, 99)
    before = dict(store.counters.keys)
    subject = gateway.limiter.subject(caller, "", 0.0)
    for _ in range(10):
        peek = asyncio.ensure_future(gateway.limiter.peek(subject, 1))
        await asyncio.sleep(0)
        gateway.batch.flush()
        found = await peek
        assert (found.admitted, found.readings[0].used) == (True, 99)
    assert store.counters.keys == before
    store.away = True
    assert (await gateway.limiter.peek(subject, 1)).degraded
    assert subject.local is None


async def test_peek_of_the_odd_ones() -> None:
    """Blocked and unlimited callers need no command; an unusable reply is answered locally."""
    gateway, caller = Gateway(Store()), Caller("key:a", "free")
    gateway.limiter.set_overrides([Row("key:a", 0)])
    assert not (await gateway.limiter.peek(gateway.limiter.subject(caller, "", 0.0), 1)).admitted
    off = Gateway(Store(), tiers(3, "off"))
    assert (await off.limiter.peek(off.limiter.subject(Caller("key:a", "t"), "", 0.0), 1)).admitted
    gateway.limiter.set_overrides([])
    peek = asyncio.ensure_future(gateway.limiter.peek(gateway.limiter.subject(caller, "", 0.0), 1))
    await asyncio.sleep(0)
    gateway.batch.lose()
    assert (await peek).degraded
    assert gateway.limiter.sets.document is BUILT_IN


def test_old_fault_3a() -> None:
    """Many clients over 4 gateways at limit 100: exactly 100 admitted."""
    store = Store()
    gateways, callers = [Gateway(store) for _ in range(4)], [Caller() for _ in range(4)]
    assert sum(gateways[i % 4].ask(callers[i % 4]).admitted for i in range(256)) == 100


def test_old_fault_3b() -> None:
    """Gateways whose wall clocks are 5 minutes apart admit no more than one would: windows are the store's."""
    store = Store()
    gateways = [Gateway(store), Gateway(store)]
    gateways[1].limiter._store._offset += 300_000_000
    callers = [Caller(), Caller()]
    assert sum(gateways[i % 2].ask(callers[i % 2]).admitted for i in range(300)) == 100
