from __future__ import annotations

import time
from typing import Any

import pytest

from services.gateway.answers import ANSWERS
from services.gateway.balancers import Balancers
from services.gateway.explain import ExplainRequest, View, explain
from services.gateway.identity import Identity
from services.gateway.limiter import Limiter
from services.gateway.stages.shed import Shed
from services.gateway.tier_book import TierBook
from services.http1.limits import Deadlines, Limits
from services.runtime.endpoints import EndpointInfo
from services.schema.tiers import BUILT_IN
from tests.unit.gateway.doubles import Batch, Store, key_row, table


@pytest.fixture
async def view():
    batch: Any = Batch()
    batch.open = True  # limits from local state: nothing to wait for
    book = TierBook()
    book.use(BUILT_IN)
    balancers = Balancers(Limits(), Deadlines(), ANSWERS)
    balancers.use((EndpointInfo("b-1", "127.0.0.1", 1),))
    limiter = Limiter(batch, BUILT_IN, clock=time.monotonic)
    store = Store()
    store.keys["0123456789"] = key_row("0123456789", bytes(32))
    store.keys["revoked000"] = key_row("revoked000", bytes(32), revoked=True)
    shed = Shed(lambda _x: None, book)
    yield View(table(), book, limiter, balancers, store, anonymous, public_ops=False, instance="gateway-1", shed=shed)
    await balancers.stop()


def anonymous(address: str) -> Identity:
    return Identity(f"ip:{address}", "anonymous", "anonymous")


def asked(path: str = "/api/v1/status", method: str = "GET", **more: Any) -> ExplainRequest:
    return ExplainRequest(method=method, path=path, **more)


async def test_an_admitted_request(view):
    """Route, identity, policies with what is left, upstream, tiers, who answered; asking spends nothing."""
    for _ in range(3):
        found = await explain(view, asked(api_key_id="0123456789"))
    assert found["request"] == {"route": "/api/v1/status", "class": "normal", "criticality": "critical", "cost": 1}
    assert found["identity"] == {"identifier": "key:0123456789", "tier": "pro", "tierSource": "key", "scopes": ["read"]}
    assert [(policy["name"], policy["estimate"], policy["verdict"]) for policy in found["policies"]] == [
        ("pro", 0, "admit"),
        ("pro-burst", 0, "admit"),
    ]
    assert found["verdict"]["outcome"] == "admit"
    assert found["upstream"]["endpoints"] == [{"id": "b-1", "state": "healthy", "breaker": None}]
    assert (found["tiers"]["revision"], found["answeredBy"]) == (0, "gateway-1")


@pytest.mark.parametrize(
    ("request_", "stage", "status", "slug"),
    [
        (asked(method="DELETE"), "route", 405, "method-not-allowed"),
        (asked(api_key_id="revoked000"), "authenticate", 401, "invalid-api-key"),
        (asked(identifier="key:nobody"), "authenticate", 401, "invalid-api-key"),
        (asked("/metrics"), "own", 401, "authentication-required"),
        (asked("/a%00b"), "route", 400, "bad-request"),
    ],
)
async def test_the_first_refusal_is_the_verdict(view, request_, stage, status, slug):
    """All findings are told; the verdict is what a real request would get."""
    verdict = (await explain(view, request_))["verdict"]
    assert (verdict["outcome"], verdict["stage"], verdict["status"], verdict["type"]) == ("reject", stage, status, slug)


async def test_limits_and_upstream_refuse_too(view):
    """A used-up quota and an empty set of balancers; findings go on past the first refusal."""
    subject = view.limiter.subject(anonymous("203.0.113.5"), "203.0.113.5", time.monotonic())
    for _ in range(100):
        view.limiter.check(subject, 1, time.monotonic(), lambda *_: None, None)
    view.balancers.use(())
    found = await explain(view, asked(ip="203.0.113.5"))
    assert (found["verdict"]["stage"], found["verdict"]["status"]) == ("limit", 429)
    assert found["verdict"]["retryAfter"] >= 1
    assert {finding["stage"]: finding["verdict"] for finding in found["findings"]}["forward"] == "reject"


async def test_shedding_is_told(view):
    """The level, and whether this caller would be dropped now: its class decides, before limits."""
    calm = await explain(view, asked(ip="203.0.113.5"))
    assert calm["shedding"] == {"level": 0, "wouldShed": False}
    view.shed.press(0.75)
    found = await explain(view, asked(ip="203.0.113.5"))
    assert found["shedding"] == {"level": 2, "wouldShed": True}
    assert (found["verdict"]["stage"], found["verdict"]["reason"], found["verdict"]["status"]) == ("shed", "shed", 503)
    assert not (await explain(view, asked(api_key_id="0123456789")))["shedding"]["wouldShed"]


async def test_users_by_identifier(view):
    """The api passes the tier it knows; without it the default tier stands in and says so."""
    known = await explain(view, asked(identifier="user:u-1", tier="enterprise"))
    assert (known["identity"]["tier"], known["identity"]["tierSource"]) == ("enterprise", "user")
    unknown = await explain(view, asked(identifier="user:u-1"))
    assert (unknown["identity"]["tier"], unknown["identity"]["tierSource"]) == ("free", "default")


async def test_postgres_away_and_own_cost(view):
    """A key cannot be read: 503; a cost can be asked about."""
    view.store.away = True
    found = await explain(view, asked(api_key_id="0123456789", cost=7))
    assert found["request"]["cost"] == 7
    assert found["verdict"]["type"] == "dependency-unavailable"
