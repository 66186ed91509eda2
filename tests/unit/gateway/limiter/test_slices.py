"""Units bought by the slice: never more than was sold, gone with their window, exact when none is granted."""

from __future__ import annotations

import pytest

from services.core.limits import CALENDAR, GCRA, SLIDING, Limit
from services.gateway.limiter.slices import PURCHASES_MAX, TICK_S, Purchases, life_s, purchase, size_of
from services.runtime.redis_batch import LOST
from services.schema.tiers import Policy, Tier, TiersDocument, TiersSpec, document
from tests.unit.gateway.limiter.store import WALL, Caller, Gateway, Store

QUOTA = 4000


def tiers(quota: int = QUOTA) -> TiersDocument:
    tier = Tier(name="t", criticality="critical", policies=(Policy(name="t", quota=quota, window=60),))
    return document(1, TiersSpec(tiers=(tier,), anonymous_tier="t", default_tier="t", routes=()))


def gateways(store: Store, count: int, least: int = 1000) -> list[Gateway]:
    return [Gateway(store, tiers(), gateways=count, lease_min_quota=least) for _ in range(count)]


def ask(gateway: Gateway, times: int) -> int:
    """Admitted of so many; purchases are answered in between."""
    admitted = 0
    for _ in range(times):
        admitted += gateway.ask(Caller("key:a", "t")).admitted
        gateway.batch.flush()
    return admitted


def test_sizes_and_lives() -> None:
    """A twentieth of the smallest quota for all gateways together; until the first window ends."""
    assert [size_of(4000, n) for n in (0, 1, 4, 400)] == [200, 200, 50, 1]
    assert [purchase(size) for size in (1, 50)] == [1, 38]
    us = int(WALL * 1e6)
    assert life_s([Limit(GCRA, 1, 1000)], us) == 1.0
    assert life_s([Limit(SLIDING, 1, 60_000), Limit(GCRA, 1, 1000)], us) == 60.0
    assert life_s([Limit(SLIDING, 1, 60_000)], us + 59_700_000) == pytest.approx(0.3)
    assert life_s([Limit(CALENDAR, 1, 60_000)], us + 59_900_000) == pytest.approx(0.1)


def test_most_requests_never_ask() -> None:
    """A call per slice, not per request; the answers tell the limits all the same."""
    store = Store()
    (gateway,) = gateways(store, 1)
    assert ask(gateway, 1000) == 1000
    assert len(gateway.batch.sent) <= 12
    assert b'"t";r=' in gateway.ask(Caller("key:a", "t")).lines()


def test_a_small_quota_stays_exact() -> None:
    """Below LIMITER_LEASE_MIN_QUOTA, and with 0, every request is a call."""
    for least in (QUOTA + 1, 0):
        (gateway,) = gateways(Store(), 1, least)
        assert ask(gateway, 20) == 20
        assert len(gateway.batch.sent) == 20


def test_the_bound_over_four_gateways() -> None:
    """A window admits no more than its quota, and refuses early by at most a twentieth of it; so does the next."""
    store = Store()
    fleet = gateways(store, 4)
    for window in range(2):
        store.now = 60.0 * window * 2
        admitted = 0
        for step in range(120):
            store.now += 0.4
            admitted += sum(ask(gateway, 12) for gateway in fleet)
            if step == 60:
                assert admitted > 0
        assert QUOTA - QUOTA // 20 <= admitted <= QUOTA


def test_units_end_with_their_window() -> None:
    """What was bought in one window pays for nothing in the next."""
    store = Store()
    (gateway,) = gateways(store, 1)
    store.now = 59.9
    ask(gateway, 2)
    held = gateway.limiter.subject(Caller("key:a", "t"), "", store.now).slice
    assert held is not None
    assert held.left > 0
    assert held.spend(1, 60.0) is None
    assert held.left == 0


def test_none_granted_is_exact() -> None:
    """The last units are sold one by one, to whoever asks; the refusal is Redis' own."""
    store = Store()
    fleet = gateways(store, 1)
    for _ in range(30):
        store.now += 0.5
        ask(fleet[0], 200)
    exact = Gateway(store, tiers())
    assert ask(exact, 300) == 0


def test_a_lost_purchase_is_made_again() -> None:
    """Its units stay spent; nobody waited for it."""
    store = Store()
    (gateway,) = gateways(store, 1)
    subject = gateway.limiter.subject(Caller("key:a", "t"), "", 0.0)
    for reply in (LOST, b"rubbish"):
        gateway.limiter.check(subject, 1, 0.0, lambda *_: None, None)
        assert subject.slice is not None
        assert subject.slice.buying
        gateway.batch.flush(reply)
        assert not subject.slice.buying
        assert subject.slice.left == 0
        subject.local = None


def test_redis_away() -> None:
    """What is in memory is spent; then local shares decide."""
    store = Store()
    (gateway,) = gateways(store, 1)
    ask(gateway, 2)
    store.away = True
    assert not gateway.ask(Caller("key:a", "t")).degraded
    store.now += 61
    assert gateway.ask(Caller("key:a", "t")).degraded


def test_purchases_per_tick() -> None:
    """So many at once; the next tick may again."""
    purchases = Purchases()
    assert [purchases.take(1.0) for _ in range(PURCHASES_MAX + 2)] == [True] * PURCHASES_MAX + [False, False]
    assert purchases.take(1.0 + 2 * TICK_S)
