from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.api.limits import Applied, Subject, applied, chosen, rows
from services.api.repository.overrides import Override
from services.core.limits import Limit, Reading
from services.runtime.limit_script import Verdict
from services.schema.tiers import BUILT_IN, Policy, Tier, TiersSpec, document

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def override(identifier: str, rpm: int = 7, burst: int | None = None, mode: str = "enforce") -> Override:
    return Override("id", identifier, rpm, burst, mode, "r", "u", NOW, NOW, None)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (["user:u", "key:k", "ip:10.0.0.0/8"], "key:k"),
        (["user:u", "ip:10.0.0.0/8"], "user:u"),
        (["ip:10.0.0.0/8", "ip:10.1.0.0/16", "ip:0.0.0.0/0", "ip:2001:db8::/32"], "ip:10.1.0.0/16"),
        (["ip:10.1.2.3", "ip:10.1.2.3/32"], "ip:10.1.2.3"),
        (["ip:11.0.0.0/8"], None),
        ([], None),
    ],
)
def test_first_hit_wins(present: list[str], expected: str | None) -> None:
    """Key before owner before address before its longest prefix."""
    found = chosen([override(name) for name in present], ["key:k", "user:u", "ip:10.1.2.3"], "10.1.2.3")
    assert (found.identifier if found else None) == expected


def test_an_override_replaces_the_minute_and_if_given_the_burst() -> None:
    """The tier's burst stays without burstLimit; an unknown tier is the default one, and says so."""
    subject = Subject("key:k", "pro", "key")
    tier, source, policies = applied(BUILT_IN, subject, override("key:k"))
    assert (tier, source, [p.name for p in policies]) == ("pro", "key", ["override", "pro-burst"])
    _, _, policies = applied(BUILT_IN, subject, override("key:k", burst=3, mode="shadow"))
    assert [(p.name, p.limit.quota, p.limit.enforced) for p in policies] == [
        ("override", 7, False),
        ("override-burst", 3, False),
    ]
    assert applied(BUILT_IN, Subject("key:k", "gone", "key"), None)[:2] == ("free", "default")


def test_rows() -> None:
    """Remaining and waits are the limiter's own; a quota of 0 has no counter and no end."""
    policies = [Applied("override", 60, Limit("sliding", 0, 60_000)), Applied("pro", 60, Limit("sliding", 10, 60_000))]
    found = rows(
        policies, Verdict(admitted=True, us=90_000_000, readings=[Reading(passes=False, used=10, before=0, lag=0)])
    )
    assert [(r["remaining"], r["estimate"]) for r in found] == [(0, 0), (0, 10)]
    assert found[0]["retryAfter"] is None
    assert found[1]["retryAfter"] > 0


def test_requests_in_flight_and_small_limits() -> None:
    """A tier's `concurrency` is its last policy, in no window; a small sliding limit is shown as the log it is."""
    few = Policy(name="t", quota=5, window=60)
    tier = Tier(name="t", criticality="critical", concurrency=2, policies=(few,))
    spec = TiersSpec(tiers=(tier,), anonymous_tier="t", default_tier="t", routes=())
    _, _, policies = applied(document(1, spec), Subject("key:k", "t", "key"), None)
    full = [Reading(passes=False, used=used, before=500, lag=500) for used in (5, 2)]
    found = rows(policies, Verdict(admitted=False, us=0, readings=full))
    assert [(row["name"], row["algorithm"], row["window"]) for row in found] == [
        ("t", "log", 60),
        ("t-concurrency", "concurrency", 0),
    ]
    assert [(row["remaining"], row["retryAfter"]) for row in found] == [(0, 1), (0, 1)]
