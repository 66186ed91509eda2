from __future__ import annotations

from typing import Any

from services.api.routes.admin_explain import merged


def gateway(outcome: str = "admit") -> dict[str, Any]:
    refused = outcome == "reject"
    verdict = {"stage": "limit", "status": 429, "type": "quota-exceeded", "reason": "quota", "retryAfter": 3}
    return {
        "request": {"route": "/api/v1/info", "class": "normal", "criticality": "sheddable", "cost": 1},
        "identity": {"identifier": "ip:1", "tier": "t", "tierSource": "anonymous", "scopes": [], "tierAsked": None},
        "override": None,
        "policies": [],
        "shedding": {"level": 1, "wouldShed": False},
        "verdict": {"outcome": outcome, **(verdict if refused else dict.fromkeys(verdict))},
        "tiers": {"revision": 1, "hash": "sha256:0"},
    }


def balancer(verdict: str) -> dict[str, Any]:
    return {"upstream": {"endpoints": [{"id": "api-1", "state": "healthy", "breaker": "open"}], "verdict": verdict}}


def test_the_balancer_may_refuse_what_the_gateway_admits() -> None:
    """Its refusal is the verdict then; the gateway's own refusal comes first; without a balancer its part is null."""
    assert merged(gateway(), balancer("forward"), []).verdict.outcome == "admit"
    refused = merged(gateway(), balancer("circuit-open"), ["g", "b"]).verdict
    assert (refused.outcome, refused.stage, refused.status, refused.type) == ("reject", "pick", 503, "circuit-open")
    assert merged(gateway("reject"), balancer("no-backend"), []).verdict.status == 429
    assert merged(gateway(), None, []).upstream is None


def test_shedding_is_told() -> None:
    """As the gateway says it; a malformed target has none."""
    told = merged(gateway(), None, []).shedding
    assert told is not None
    assert (told.level, told.would_shed) == (1, False)
    without = gateway()
    del without["shedding"]
    assert merged(without, None, []).shedding is None
