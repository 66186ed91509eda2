from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from services.core.verdicts import PARKED, Refusal
from services.gateway.stages import limit
from services.gateway.stages.limit import Asked, LimitStage, explain
from services.http1.exchange import DONE, PARKED_STATE
from services.schema.tiers import BUILT_IN_ROUTES, Policy, RouteRule, Tier, TiersSpec, document
from tests.unit.gateway.limiter.store import Caller, Gateway, Store

LOGIN = BUILT_IN_ROUTES[0].policy


def request(cost: int = 1, policy: Policy | None = None, *, tells: bool = False, caller: Caller | None = None) -> Any:
    route = SimpleNamespace(policy=policy, tells_limit=tells)
    client = SimpleNamespace(address="192.0.2.1")
    fields: dict[str, Any] = {"cost": cost, "route": route, "client": client, "identity": caller or Caller()}
    return SimpleNamespace(**fields, limit=None, extra=[], fields=[], now=0.0, ticket=7, state=PARKED_STATE)


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the stage hands back to the runner."""
    found: list[Any] = []
    monkeypatch.setattr(limit, "resume", lambda x, ticket, out=None: found.append((x, ticket, out)))
    return found


def staged(gateway: Gateway) -> LimitStage:
    return LimitStage(gateway.limiter)


def test_a_request_parks_and_goes_on(resumed: list[Any]) -> None:
    """The reply resumes it under its ticket, and its answer's head tells the limits."""
    gateway = Gateway(Store())
    stage, x = staged(gateway), request()
    assert stage(x) is PARKED
    gateway.batch.flush()
    assert resumed == [(x, 7, None)]
    stage.on_head(x)
    assert b'RateLimit: "anonymous";r=99;t=' in x.extra[0]


def test_the_101st_is_refused(resumed: list[Any]) -> None:
    """429, its head tells the limits too; later ones are refused without parking."""
    gateway = Gateway(Store())
    gateway.admitted(Caller(), 99)
    stage = staged(gateway)
    first, second = request(), request()
    assert (stage(first), stage(second)) == (PARKED, PARKED)
    gateway.batch.flush()
    assert resumed[0][2] is None
    assert isinstance(resumed[1][2], Refusal)
    third = request()
    assert isinstance(stage(third), Refusal)
    stage.on_head(third)
    assert b"X-RateLimit-Remaining: 0\r\n" in third.extra[0]


def test_a_stale_exchange_is_left_alone(resumed: list[Any]) -> None:
    """Answered meanwhile: nothing is written to it, no second command is sent for it."""
    gateway = Gateway(Store())
    stage, x, login = staged(gateway), request(), request(1, LOGIN)
    stage(x)
    stage(login)
    x.ticket, login.state = 8, DONE
    gateway.batch.flush()
    assert (resumed, x.limit, login.limit) == ([], None, None)


def test_exempt_routes_cost_and_tell_nothing() -> None:
    """Cost 0: no command, no field."""
    gateway = Gateway(Store())
    stage, x = staged(gateway), request(0)
    assert stage(x) is None
    stage.on_head(x)
    assert (x.extra, gateway.batch.sent) == ([], [])


def test_old_fault_7a(resumed: list[Any]) -> None:
    """The 21st log-in from one network in 60 s is refused, whoever asks; the tier's quota is not touched."""
    gateway = Gateway(Store())
    stage = staged(gateway)
    for _ in range(21):
        assert stage(request(0, LOGIN, caller=Caller("user:u", "free"))) is PARKED
    gateway.batch.flush()
    outs = [out for _, _, out in resumed]
    assert outs[:20] == [None] * 20
    assert outs[20].slug == "abnormal-usage-detected"
    assert all(key.endswith(":login-ip:l") for key in gateway.store.counters.keys)


def test_a_route_policy_before_the_tiers(resumed: list[Any]) -> None:
    """With a cost of its own such a route meets both, one after the other, under one ticket; the head tells both."""
    policy = Policy(name="reports", quota=5, window=60)
    tier = Tier(name="t", criticality="critical", policies=(Policy(name="t", quota=10, window=60),))
    rule = RouteRule(match="GET /r", cost=2, policy=policy)
    gateway = Gateway(
        Store(), document(1, TiersSpec(tiers=(tier,), anonymous_tier="t", default_tier="t", routes=(rule,)))
    )
    stage, x = staged(gateway), request(2, policy, caller=Caller("key:a", "t"))
    assert stage(x) is PARKED
    gateway.batch.flush()
    assert resumed == []
    gateway.batch.flush()
    assert resumed == [(x, 7, None)]
    stage.on_head(x)
    assert b'"reports";r=3' in x.extra[0]
    assert b'"t";r=8' in x.extra[1]
    gone = request(1, Policy(name="gone", quota=1, window=60), caller=Caller("key:a", "t"))
    assert stage(gone) is PARKED
    assert b":t:l\r\n" in gateway.batch.sent[-1]


def test_me_carries_its_state(resumed: list[Any]) -> None:
    """The api shows on ~/me what the gateway found."""
    gateway = Gateway(Store())
    x = request(tells=True)
    staged(gateway)(x)
    gateway.batch.flush()
    name, _, value = x.fields[0].partition(b": ")
    assert name == b"X-Gateway-RateLimit"
    assert json.loads(value)["remaining"] == 99


async def test_explain_says_what_the_next_request_meets() -> None:
    """Every policy with its verdict, the refusal as the request would get it; nothing is spent."""
    store = Store()
    gateway, caller = Gateway(store), Caller()
    store.away = True  # decided locally, so at once
    free = await explain(gateway.limiter, Asked(caller, "192.0.2.1", 1, LOGIN), 0.0)
    assert (free["admitted"], free["refusal"], free["override"], free["degraded"]) == (True, None, None, True)
    assert [(row["name"], row["remaining"], row["verdict"]) for row in free["policies"]] == [
        ("login-ip", 10, "admit"),
        ("anonymous", 100, "admit"),
    ]
    gateway.admitted(caller, 100)
    full = await explain(gateway.limiter, Asked(caller, "192.0.2.1", 1), 0.0)
    assert full["refusal"].slug == "quota-exceeded"
    row = full["policies"][0]
    assert (row["estimate"], row["remaining"], row["verdict"], row["retryAfter"]) == (100, 0, "reject", 61)
    exempt = await explain(gateway.limiter, Asked(caller, "192.0.2.1", 0), 0.0)
    assert (exempt["admitted"], exempt["policies"]) == (True, [])


def test_its_place_in_flight_ends_with_the_request(resumed: list[Any]) -> None:
    """However it ends: answered, or gone while its reply was on the way."""
    tier = Tier(name="t", criticality="critical", concurrency=1, policies=(Policy(name="t", quota=1000, window=60),))
    spec = TiersSpec(tiers=(tier,), anonymous_tier="t", default_tier="t", routes=())
    gateway = Gateway(Store(), document(1, spec))
    stage = staged(gateway)
    x, gone, refused, free = (request(1, caller=Caller("key:a", "t")) for _ in range(4))
    assert stage(gone) is PARKED
    gone.state = DONE
    stage.on_finish(gone)
    gateway.batch.flush()
    assert resumed == []
    for asked in (x, refused):
        assert stage(asked) is PARKED
        gateway.batch.flush()
    assert [out is None for _, _, out in resumed] == [True, False]
    stage.on_finish(refused)
    stage.on_finish(x)
    assert stage(free) is PARKED
    gateway.batch.flush()
    assert resumed[-1] == (free, free.ticket, None)
