from __future__ import annotations

from services.api.tier_rules import daily_limit, rank, unknown
from services.schema.tiers import BUILT_IN, Policy, Tier


def test_order_is_rank() -> None:
    """Lowest first; a name the document lacks counts as the default tier."""
    assert [rank(BUILT_IN, name) for name in ("anonymous", "free", "pro", "enterprise")] == [0, 1, 2, 3]
    assert rank(BUILT_IN, "gone") == rank(BUILT_IN, BUILT_IN.spec.default_tier)


def test_only_known_names_may_be_written() -> None:
    """The answer lists what there is."""
    problem = unknown(BUILT_IN, "professional", "/tier")
    assert problem
    assert "enterprise" in problem.detail
    assert unknown(BUILT_IN, "pro", "/tier") is None


def test_daily_limit() -> None:
    """A day policy's quota, else 1440 minutes of the minute's, else nothing."""
    assert daily_limit(BUILT_IN, "free") == 1_440_000
    day = Policy(name="day", quota=5000, window=86_400, algorithm="calendar")
    burst = Policy(name="burst", quota=5, window=1)
    for policies, limit in (((day,), 5000), ((burst,), None)):
        tiers = tuple(
            Tier(name=t.name, criticality=t.criticality, policies=policies) if t.name == "free" else t
            for t in BUILT_IN.spec.tiers
        )
        spec = BUILT_IN.spec.model_copy(update={"tiers": tiers})
        assert daily_limit(BUILT_IN.model_copy(update={"spec": spec}), "free") == limit
