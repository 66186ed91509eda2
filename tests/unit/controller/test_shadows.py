"""The document of an audit: what is new stands beside what is in force and refuses nobody."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.controller.shadows import names, shadowed
from services.schema.tiers import Policy, Tier, TiersSpec


def policy(name: str, quota: int = 100, **members: Any) -> Policy:
    return Policy.model_validate({"name": name, "quota": quota, "window": 60, **members})


def made(*policies: Policy, **members: Any) -> TiersSpec:
    tier = Tier(name="free", criticality="critical", policies=policies)
    return TiersSpec.model_validate({"anonymous_tier": "free", "tiers": (tier,), "routes": (), **members})


def shown(document: TiersSpec) -> list[tuple[str, int, str]]:
    return [(p.name, p.quota, p.mode) for p in document.tiers[0].policies]


def test_changed_new_removed_and_own():
    """Changed and new ones as shadows, a removed one stays enforced, the spec's own shadows are the spec's."""
    active = made(policy("a"), policy("b"), policy("s", 1, mode="shadow"))
    wanted = made(policy("a", 5), policy("c"), policy("s", 2, mode="shadow"))
    found = shadowed(active, wanted)
    assert shown(found) == [
        ("a", 100, "enforce"),
        ("a-next", 5, "shadow"),
        ("c-next", 100, "shadow"),
        ("s", 2, "shadow"),
        ("b", 100, "enforce"),
    ]
    assert names(found) == ["a", "c"]


def test_the_last_audit_leaves_nothing():
    """Shadows of the audit before are not shadowed again; the old content ends it."""
    active = made(policy("a"))
    first = shadowed(active, made(policy("a", 5)))
    assert shadowed(first, made(policy("a", 7))) == shadowed(active, made(policy("a", 7)))
    assert shadowed(first, active) == active


def test_a_policy_that_is_to_be_a_shadow_stays_enforced():
    """Audit takes nothing away either."""
    active = made(policy("a"))
    assert shadowed(active, made(policy("a", mode="shadow"))) == active


def test_a_tier_that_is_gone_or_new_waits():
    """Those who have it keep their limits; the new one is not defined before Enforce."""
    wanted = TiersSpec(
        anonymous_tier="x", default_tier="x", tiers=(Tier(name="x", criticality="critical", policies=(policy("x"),)),)
    )
    active = made(policy("a"), policy("s", mode="shadow"))
    assert shown(shadowed(active, wanted)) == shown(active)


def test_what_cannot_stand_side_by_side_waits_for_enforce():
    """A cost in force above the quota that is asked for."""
    active = made(policy("a", 500), routes=({"match": "GET /x", "cost": 300},))
    assert shadowed(active, made(policy("a", 200))) == active


POLICIES = st.lists(
    st.builds(
        policy, st.sampled_from("abcdef"), st.integers(100, 999), mode=st.sampled_from(["enforce", "shadow", "off"])
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda p: p.name,
)


@given(POLICIES, st.lists(POLICIES, min_size=1, max_size=4))
def test_no_audit_enforces_anything_new(first, later):
    """Through any series of audits the enforced policies stay those that were; the document is always one."""
    active = made(*first)
    enforced = {p.name: p for p in active.tiers[0].policies if p.mode == "enforce"}
    for policies in later:
        active = shadowed(active, made(*policies))
        assert {p.name: p for p in active.tiers[0].policies if p.mode == "enforce"} == enforced
