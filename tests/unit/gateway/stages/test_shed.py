from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from services.core.criticality import CRITICALITIES
from services.core.verdicts import Refusal
from services.gateway.identity import Identity
from services.gateway.stages.shed import Shed, refusal
from services.gateway.tier_book import TierBook
from services.http1.exchange import Exchange
from services.schema.tiers import BUILT_IN
from tests.unit.gateway.doubles import exchange, record

TIERS = ("anonymous", "free", "pro", "enterprise")


def shed(peek: Callable[[Exchange], Identity | None]) -> Shed:
    book = TierBook()
    book.use(BUILT_IN)
    return Shed(peek, book)


def never(_x: Exchange) -> Identity | None:
    raise AssertionError("nobody is looked up while nothing is shed")


def knows(tier: str) -> Callable[[Exchange], Identity | None]:
    identity = Identity("key:0123456789", tier, "key")
    return lambda _x: identity


def asks(path: bytes = b"/api/v1/status", method: bytes = b"GET", **special: Any) -> Exchange:
    x = exchange(method, path, **special)
    x.route = record(method, path)
    x.class_slow = x.route.slow
    return x


def test_no_pressure_costs_nothing():
    """All pass, and no cache is asked."""
    stage = shed(never)
    stage.press(0.2)  # 99.2: above every priority
    assert stage.level == 0
    assert stage(asks()) is None


@pytest.mark.parametrize(("x", "kept"), [(0.67, (1, 2, 3)), (0.847, (2, 3)), (0.97, (3,)), (1.0, (3,))])
def test_classes_go_from_below(x, kept):
    """With this pressure exactly these classes are kept whole or go whole; critical-plus always stays."""
    for at, tier in enumerate(TIERS):
        stage = shed(knows(tier))
        stage.press(x)
        out = stage(asks())
        if at in kept:
            assert out is None, tier
        elif at + 1 not in kept:  # the band at the border goes in part
            assert isinstance(out, Refusal), tier
            assert stage.refused == 1


def test_who_is_not_in_the_cache_is_sheddable():
    """Its look-up is what shedding saves; a route's own class holds for anybody."""
    stage = shed(lambda _x: None)
    stage.press(0.75)
    assert isinstance(stage(asks(x_api_key=b"sk_live_unknown")), Refusal)
    assert stage(asks(b"/api/v1/admin/fleet")) is None
    assert record(b"GET", b"/api/v1/admin/fleet").criticality == CRITICALITIES.index("critical-plus")


def test_slow_routes_count_as_sheddable():
    """While anything is shed, log-ins and reports go before the rest of their class."""
    stage = shed(lambda _x: None)
    stage.press(0.75)
    assert record(b"POST", b"/api/v1/auth/login").criticality == CRITICALITIES.index("critical")
    assert isinstance(stage(asks(b"/api/v1/auth/login", b"POST")), Refusal)


@pytest.mark.parametrize(("x", "seconds"), [(0.0, 1), (0.5, 3), (0.8, 4), (1.0, 5)])
def test_the_refusal(x, seconds):
    """503 that says why and when to come back: the more pressure, the later."""
    found = refusal(x)
    assert (found.slug, found.reason, found.retry_after_s) == ("temporary-reduced-capacity", "shed", seconds)
    assert found.facts == {"reason": "shed"}
