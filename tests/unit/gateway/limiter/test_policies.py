from __future__ import annotations

from services.core.fields import Item, parse_list
from services.core.limits import Limit
from services.gateway.limiter.policies import ABUSE, QUOTA, Counts, Override, Sets, make_set
from services.schema.tiers import BUILT_IN, Policy, Tier, TiersSpec, document

INF = float("inf")
ENFORCED, SHADOW = True, False


def sets_of(*policies: Policy, enabled: bool = True) -> Sets:
    tier = Tier(name="free", criticality="critical", policies=policies)
    spec = TiersSpec(tiers=(tier,), anonymous_tier="free", routes=())
    return Sets(document(1, spec), Counts(), enabled=enabled)


def test_built_in_tiers() -> None:
    """Each tier's set has its policies, and the constant field is a List of Strings."""
    free = Sets(BUILT_IN, Counts()).tier("free")
    assert free is not None
    assert free.limits == (Limit("sliding", 1000, 60_000), Limit("gcra", 500, 1000))
    policy, value = (free.lines_format % (950, 57, 499, 1)).decode().splitlines()
    assert policy == 'RateLimit-Policy: "free";q=1000;w=60, "free-burst";q=500;w=1'
    value = value.removeprefix("RateLimit: ")
    assert parse_list(value) == [Item("free", {"r": 950, "t": 57}), Item("free-burst", {"r": 499, "t": 1})]
    assert (free.slug, free.cost_max, free.blocked) == (QUOTA, 500, False)


def test_guards_are_abuse() -> None:
    """Log-in and credential policies have sets of their own, refused as guessing."""
    sets = Sets(BUILT_IN, Counts())
    assert sets.routes["login-ip"].slug == ABUSE
    assert sets.credentials.slug == ABUSE
    assert sets.tier("nobody") is None


def test_shadow_and_off() -> None:
    """Shadow is evaluated but not shown; off is absent; the kill switch makes everything shadow."""
    found = sets_of(
        Policy(name="free", quota=10, window=60),
        Policy(name="dark", quota=5, window=60, mode="shadow"),
        Policy(name="gone", quota=1, window=60, mode="off"),
    ).default
    assert [rule.name for rule in found.rules] == ["free", "dark"]
    assert found.enforced == (0,)
    assert b"dark" not in found.lines_format
    off = sets_of(Policy(name="free", quota=10, window=60), enabled=False).default
    assert (off.enforced, off.lines_format, off.limits[0].enforced) == ((), b"", False)


def test_overrides_replace_minute_and_burst() -> None:
    """Day policies stay; the burst stays unless the override names one; 0 blocks; sets are built once."""
    sets = sets_of(
        Policy(name="free", quota=10, window=60),
        Policy(name="free-burst", quota=5, window=1),
        Policy(name="free-day", quota=1000, window=86_400, algorithm="calendar"),
    )
    minute = sets.overridden(sets.default, Override("key:a", 7, None, ENFORCED, INF))
    assert [(r.name, r.limit.quota) for r in minute.rules] == [("override", 7), ("free-burst", 5), ("free-day", 1000)]
    both = sets.overridden(sets.default, Override("key:a", 7, 3, ENFORCED, INF))
    assert [r.name for r in both.rules] == ["override", "override-burst", "free-day"]
    assert both.limits[1].algorithm == "gcra"
    assert sets.overridden(sets.default, Override("key:b", 7, 3, ENFORCED, INF)) is both
    assert sets.overridden(sets.default, Override("key:a", 0, None, ENFORCED, INF)).blocked
    assert not sets.overridden(sets.default, Override("key:a", 0, None, SHADOW, INF)).blocked


def test_shares() -> None:
    """local: a gateway's part; closed: half; open: refuses nothing. No cost is above what a share could admit."""
    found = sets_of(
        Policy(name="a", quota=100, window=60),
        Policy(name="b", quota=20, window=60, on_store_failure="closed"),
        Policy(name="c", quota=5, window=60, on_store_failure="open"),
    ).default
    share = found.share(3)
    assert [(limit.quota, limit.enforced) for limit in share.limits] == [(34, True), (10, True), (5, False)]
    assert (share.divisors, share.cost_max) == ((3, 2, 3), 5)
    assert found.share(3) is share


def test_counts_are_kept_over_documents() -> None:
    """Counters never fall: the same tier and policy keep their array."""
    counts = Counts()
    first = make_set("free", Sets(BUILT_IN, counts).default.rules)
    first.rules[0].counts[0] += 2
    again = Sets(BUILT_IN, counts).default
    assert again.rules[0].counts[0] == 2
    assert ("free", "free", "admit", 2) in list(counts.rows())


def test_small_limits_and_leases() -> None:
    """A sliding limit of at most 50 is kept as a log; what is in flight is a limit of its own, told as such, and no
    cost is measured against it; with the limiter off it is a shadow as all others.
    """
    few = Policy(name="free", quota=10, window=60)
    tier = Tier(name="free", criticality="critical", concurrency=3, policies=(few,))
    spec = TiersSpec(tiers=(tier,), anonymous_tier="free", routes=())
    free = Sets(document(1, spec), Counts()).default
    assert free.limits == (Limit("log", 10, 60_000), Limit("concurrency", 3, 1000))
    assert (free.leased, free.cost_max) == (1, 10)
    assert free.share(2).cost_max == 5
    policy, value = (free.lines_format % (9, 6, 2, 1)).decode().splitlines()
    assert policy == 'RateLimit-Policy: "free";q=10;w=60, "free-concurrency";q=3;qu="concurrent-requests"'
    assert value == 'RateLimit: "free";r=9;t=6, "free-concurrency";r=2;t=1'
    dark = Sets(document(1, spec), Counts(), enabled=False).default
    assert (dark.enforced, dark.shadows, dark.leased) == ((), (0, 1), 1)
    override = Override("key:a", 100, 20, ENFORCED, INF)
    names = [rule.name for rule in Sets(document(1, spec), Counts()).overridden(free, override).rules]
    assert names == ["override", "override-burst", "free-concurrency"]
