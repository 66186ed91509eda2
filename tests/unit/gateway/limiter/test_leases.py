"""Requests in flight, counted over gateways: a lease each, given back at the end, renewed meanwhile, lost by nobody."""

from __future__ import annotations

from services.core.limits import LEASE_MS
from services.gateway.limiter import Decision
from services.gateway.limiter.leases import MEMBERS_MAX, RENEW_S, Leases
from services.schema.tiers import Policy, Tier, TiersDocument, TiersSpec, document
from tests.unit.gateway.limiter.store import Caller, FakeBatch, Gateway, Store

KEY = "rl:{key:a}:t-concurrency"


def tiers(concurrency: int = 3, quota: int = 1000) -> TiersDocument:
    policies = (Policy(name="t", quota=quota, window=60),)
    tier = Tier(name="t", criticality="critical", concurrency=concurrency, policies=policies)
    return document(1, TiersSpec(tiers=(tier,), anonymous_tier="t", default_tier="t", routes=()))


def caller() -> Caller:
    return Caller("key:a", "t")


def test_in_flight_over_two_gateways() -> None:
    """At most the quota at once, over both; one that ends frees a place at once, at either; the refusal costs nothing
    and tells one second.
    """
    store = Store()
    one, two = (Gateway(store, tiers(), gateways=2) for _ in range(2))
    held = [one.ask(caller()), two.ask(caller()), one.ask(caller())]
    assert all(decision.admitted and decision.lease is not None for decision in held)
    refused = two.ask(caller())
    assert not refused.admitted
    assert refused.refusal(0.0).retry_after_s == 1
    assert "3 requests are in flight" in refused.refusal(0.0).detail
    assert refused.readings[0].used == 3
    two.limiter.release(held[1])
    two.limiter.release(held[1])  # twice is once
    assert one.ask(caller()).admitted
    assert not two.ask(caller()).admitted


def test_no_refusal_is_remembered() -> None:
    """A place may become free at any time, so the deny cache has no say (data-path.md section 5)."""
    gateway = Gateway(Store(), tiers(1))
    held = gateway.ask(caller())
    assert not gateway.ask(caller()).admitted
    gateway.limiter.release(held)
    assert gateway.ask(caller()).admitted


def test_a_gateway_that_died_holds_its_leases_for_30_s() -> None:
    """Nobody renews them; a living one's are renewed and outlast any time."""
    store = Store()
    dead, alive = (Gateway(store, tiers(2), gateways=2) for _ in range(2))
    assert dead.ask(caller()).admitted
    assert alive.ask(caller()).admitted
    for _ in range(29):
        store.now += 1
        alive.limiter.sweep()
        assert not alive.ask(caller()).admitted
    store.now += 2
    alive.limiter.sweep()
    assert alive.ask(caller()).admitted
    assert not alive.ask(caller()).admitted


def test_redis_away() -> None:
    """This gateway's share, with what it holds already; back empty: all it holds is entered again, what ended
    meanwhile is not.
    """
    store = Store()
    gateway = Gateway(store, tiers(4), gateways=2)
    first = gateway.ask(caller())
    store.away = True
    gateway.limiter.sweep()
    second = gateway.ask(caller())
    assert (second.admitted, second.degraded) == (True, True)
    assert second.lease is not None
    assert not gateway.ask(caller()).admitted
    gateway.limiter.release(first)
    third = gateway.ask(caller())
    assert third.admitted
    store.away = False
    store.counters.keys.clear()
    store.counters.ends.clear()
    gateway.limiter.sweep()
    assert len(store.counters.ends[KEY]) == 2
    gateway.limiter.release(second)
    gateway.limiter.release(third)
    assert store.counters.keys[KEY] is None


def test_a_lost_reply_leaves_no_lease() -> None:
    """It may have been granted: the request that goes on keeps its name, one that does not gives it back."""
    store = Store()
    gateway = Gateway(store, tiers(1))
    subject = gateway.limiter.subject(caller(), "", 0.0)
    got: list[Decision] = []
    for _ in range(2):
        assert gateway.limiter.check(subject, 1, 0.0, lambda _, d: got.append(d), None) is None
    gateway.batch.lose()
    assert [decision.admitted for decision in got] == [True, False]
    assert [parts[0] for parts in gateway.batch.others] == [b"ZREM"]
    assert got[0].lease is not None
    assert gateway.batch.others[0][2] != got[0].lease.name


def test_renewals_are_grouped_and_bounded() -> None:
    """One ZADD per caller and so many; nothing before its time."""
    store = Store()
    batch = FakeBatch(store)
    leases = Leases(batch, lambda _now: store.us)
    names = {leases.take(KEY, leases.name(), 0.0).name for _ in range(MEMBERS_MAX + 1)}
    assert len({len(name) for name in names}) == 1
    leases.sweep(RENEW_S - 0.1)
    assert batch.others == []
    leases.sweep(RENEW_S)
    assert [parts[0] for parts in batch.others] == [b"ZADD", b"ZADD", b"PEXPIRE"]
    ends = store.counters.ends[KEY]
    assert {name.encode() for name in ends} == names
    assert set(ends.values()) == {store.us // 1000 + LEASE_MS}
    assert leases.held(KEY) == MEMBERS_MAX + 1
