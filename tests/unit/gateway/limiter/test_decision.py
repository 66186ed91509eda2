from __future__ import annotations

import json

from services.core.limits import Reading
from services.gateway.limiter.decision import Decision, blocked
from services.gateway.limiter.policies import Counts, Override, Sets
from services.schema.tiers import BUILT_IN

US = 1_700_000_040_000_000
SETS = Sets(BUILT_IN, Counts())
FREE = SETS.default
PASSES, REFUSES = True, False


def decision(*readings: Reading, admitted: bool = True, degraded: bool = False) -> Decision:
    return Decision(FREE, FREE.limits, list(readings), US, 1, admitted=admitted, degraded=degraded)


def test_lines_of_an_admitted_request() -> None:
    """All enforced policies in RateLimit, the closest one in X-RateLimit-*."""
    found = decision(Reading(PASSES, 50, 0, 0), Reading(PASSES, 1_000_000, 0, 0))
    assert found.lines() == (
        b'RateLimit-Policy: "free";q=1000;w=60, "free-burst";q=500;w=1\r\n'
        b'RateLimit: "free";r=950;t=62, "free-burst";r=499;t=1\r\n'
        b"X-RateLimit-Limit: 1000\r\nX-RateLimit-Remaining: 950\r\nX-RateLimit-Reset: 1700000102\r\n"
    )
    assert found.lines() is found.lines()


def test_degraded_is_told() -> None:
    """RateLimit-Degraded: ?1 while limits are local."""
    assert (
        decision(Reading(PASSES, 1, 0, 0), Reading(PASSES, 0, 0, 0), degraded=True)
        .lines()
        .endswith(b"RateLimit-Degraded: ?1\r\n")
    )


def test_refusal_names_the_policies() -> None:
    """429 quota-exceeded with its members; Retry-After covers the wait."""
    refusal = decision(Reading(REFUSES, 1000, 0, 0), Reading(PASSES, 0, 0, 0), admitted=False).refusal(0.0)
    assert refusal.slug == "quota-exceeded"
    assert refusal.retry_after_s == 61
    assert refusal.detail == "1000 requests per 60 s are used up; retry in 61 s."
    assert refusal.facts == {
        "violated-policies": ("free",),
        "limit": 1000,
        "remaining": 0,
        "resetAt": "2023-11-14T22:15:01.000Z",
    }


def test_guards_refuse_as_abuse() -> None:
    """Another slug, and no hint at a quota."""
    guard = SETS.routes["login-ip"]
    refusal = Decision(guard, guard.limits, [Reading(REFUSES, 20, 62_500, 62_500)], US, 1, admitted=False).refusal(0.9)
    assert (refusal.slug, refusal.reason) == ("abnormal-usage-detected", "attempts")
    assert refusal.detail == f"Too many attempts; retry in {refusal.retry_after_s} s."
    assert refusal.retry_after_s == 63 + int(0.9 * 5)


def test_state_for_me() -> None:
    """The api shows it as it is."""
    found = json.loads(decision(Reading(PASSES, 50, 0, 0), Reading(PASSES, 1_000_000, 0, 0)).state())
    assert (found["allowed"], found["limit"], found["remaining"]) == (True, 1000, 950)
    assert [(p["name"], p["quota"], p["window"], p["remaining"]) for p in found["policies"]] == [
        ("free", 1000, 60, 950),
        ("free-burst", 500, 1, 499),
    ]
    off = Sets(BUILT_IN, Counts(), enabled=False).default
    shadow = Decision(off, off.limits, [Reading(PASSES, 1, 0, 0), Reading(PASSES, 0, 0, 0)], US, 1, admitted=True)
    assert json.loads(shadow.state()) == {
        "allowed": True,
        "remaining": None,
        "resetAt": None,
        "limit": None,
        "policies": [],
    }
    assert shadow.lines() == b""


def test_blocked() -> None:
    """An override of 0 refuses without a counter, and tells a minute."""
    refused = blocked(SETS.overridden(FREE, Override("key:a", 0, None, PASSES, float("inf"))), US, 1)
    refusal = refused.refusal(0.0)
    assert (refusal.retry_after_s, refusal.facts["violated-policies"]) == (60, ("override",))
    assert b'"override";r=0;t=60' in refused.lines()
