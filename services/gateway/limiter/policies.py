"""The tiers document made ready: every set of limits a request can meet, with the constant bytes of its header fields.

Built aside when a document comes, then swapped in one assignment by the limiter. Sets are compared by identity: a new
document means new sets, so everything derived from them (commands, shares, deny entries) ends with the old ones,
while keys in Redis stay: a changed quota meets what was already used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from services.core.fields import Bare, Item, write_list
from services.core.limits import CONCURRENCY, Limit, kept_as, share
from services.schema.tiers import Policy, Tier, TiersDocument

QUOTA: Final = "quota-exceeded"
ABUSE: Final = "abnormal-usage-detected"
GUARDS: Final = frozenset({"login-ip", "credential-ip"})  # against guessing: refused as abuse, not as a used-up quota
MINUTE_S: Final = 60
BURST_S: Final = 1
LEASED_MS: Final = 1000  # the wait told by a limit on what is in flight: nobody knows a better one
SETS_MAX: Final = 20_000  # of overrides: twice the rows there may be

# a decision about one policy, in the order of its counts
ADMIT: Final = 0
REJECT: Final = 1
SHADOW_REJECT: Final = 2
NEAR: Final = 3
DECISIONS: Final = ("admit", "reject", "shadow_reject", "near")
NEAR_SHARE: Final = 5  # near: admitted with less than a fifth left


class Counts:
    """`gateway_limit_decisions_total`: an array per tier and policy, kept over documents since counters never fall."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, str], list[int]] = {}

    def of(self, tier: str, policy: str) -> list[int]:
        return self.series.setdefault((tier, policy), [0, 0, 0, 0])

    def rows(self) -> Iterable[tuple[str, str, str, int]]:
        """tier, policy, decision, count."""
        for (tier, policy), counts in list(self.series.items()):
            for decision, count in zip(DECISIONS, counts, strict=True):
                yield tier, policy, decision, count


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One policy of a set. A quota of 0 (an override that blocks) admits nothing and never reaches Redis."""

    name: str
    window_s: int
    on_store_failure: str
    limit: Limit
    counts: list[int]


@dataclass(frozen=True, slots=True)
class Share:
    """A set's limits while Redis is away; what was used before is divided by `divisors`."""

    limits: tuple[Limit, ...]
    divisors: tuple[int, ...]
    cost_max: int


@dataclass(frozen=True, slots=True, eq=False)
class PolicySet:
    """The limits of one request. `enforced`, `shadows` are indexes into `rules`, `leased` is that of the limit on what
    is in flight, -1 without one; no cost above `cost_max` is spent: no quota could ever admit it.
    """

    tier: str
    slug: str
    rules: tuple[Rule, ...]
    limits: tuple[Limit, ...]
    enforced: tuple[int, ...]
    shadows: tuple[int, ...]
    cost_max: int
    blocked: bool
    leased: int
    lines_format: bytes
    shares: dict[int, Share] = field(default_factory=dict)

    def share(self, gateways: int) -> Share:
        """What this gateway enforces alone, one of so many."""
        found = self.shares.get(gateways)
        if found is None:
            limits = tuple(_alone(rule, gateways) for rule in self.rules)
            divisors = tuple(2 if rule.on_store_failure == "closed" else gateways for rule in self.rules)
            cost_max = _smallest(limit for limit in limits if limit.enforced) or self.cost_max
            found = self.shares[gateways] = Share(limits, divisors, min(self.cost_max, cost_max))
        return found


def _alone(rule: Rule, gateways: int) -> Limit:
    limit = rule.limit
    if rule.on_store_failure == "open":
        return Limit(limit.algorithm, limit.quota, limit.window_ms, enforced=False)
    quota = share(limit.quota, gateways, closed=rule.on_store_failure == "closed")
    return Limit(limit.algorithm, quota, limit.window_ms, limit.enforced)


def _smallest(limits: Iterable[Limit]) -> int:
    """The smallest quota that units are spent on; 0: there is none."""
    return min((max(1, limit.quota) for limit in limits if limit.algorithm != CONCURRENCY), default=0)


def _told(rule: Rule) -> dict[str, Bare]:
    if rule.limit.algorithm == CONCURRENCY:
        return {"q": rule.limit.quota, "qu": "concurrent-requests"}
    return {"q": rule.limit.quota, "w": rule.window_s}


def make_set(tier: str, rules: Iterable[Rule], slug: str = QUOTA) -> PolicySet:
    rules = tuple(rules)
    enforced = tuple(i for i, rule in enumerate(rules) if rule.limit.enforced)
    shown = [rules[i] for i in enforced]
    lines_format = b""
    if shown:
        policies = write_list(Item(r.name, _told(r)) for r in shown)
        told = ", ".join(f'"{r.name}";r=%d;t=%d' for r in shown)
        lines_format = f"RateLimit-Policy: {policies}\r\nRateLimit: {told}\r\n".encode()
    return PolicySet(
        tier,
        slug,
        rules,
        tuple(rule.limit for rule in rules),
        enforced,
        tuple(i for i, rule in enumerate(rules) if not rule.limit.enforced),
        _smallest(rule.limit for rule in rules) or 1,
        any(rules[i].limit.quota == 0 for i in enforced),
        next((i for i, rule in enumerate(rules) if rule.limit.algorithm == CONCURRENCY), -1),
        lines_format,
    )


@dataclass(frozen=True, slots=True)
class Override:
    """A row of `rate_limit_configs` that is in force; `until` on the loop's clock, infinity: for good."""

    identifier: str
    requests_per_minute: int
    burst: int | None
    enforced: bool
    until: float


class Sets:
    """Everything one document says about limits."""

    def __init__(self, document: TiersDocument, counts: Counts, *, enabled: bool = True) -> None:
        self.document = document
        self._counts = counts
        self._enabled = enabled
        spec = document.spec
        self._tiers = {tier.name: self._tier(tier) for tier in spec.tiers}
        self.default = self._tiers[spec.default_tier]
        policies = [rule.policy for rule in spec.routes if rule.policy is not None]
        self.routes = {policy.name: self._guard("route", policy) for policy in policies}
        self.credentials = self._guard("credentials", spec.credential_failures)
        self._overridden: dict[tuple[str, int, int | None, bool], PolicySet] = {}

    def tier(self, name: str) -> PolicySet | None:
        """None: the document has no such tier."""
        return self._tiers.get(name)

    def overridden(self, base: PolicySet, override: Override) -> PolicySet:
        """The tier's set with the minute policy, and the burst if one is given, replaced."""
        key = (base.tier, override.requests_per_minute, override.burst, override.enforced)
        found = self._overridden.get(key)
        if found is None:
            if len(self._overridden) >= SETS_MAX:
                self._overridden.clear()
            found = self._overridden[key] = self._replace(base, override)
        return found

    def _replace(self, base: PolicySet, override: Override) -> PolicySet:
        rules = [self._own(base.tier, "override", override.requests_per_minute, MINUTE_S, override)]
        if override.burst is not None:
            rules.append(self._own(base.tier, "override-burst", override.burst, BURST_S, override))
        replaced = {rule.window_s for rule in rules}
        return make_set(base.tier, [*rules, *(rule for rule in base.rules if rule.window_s not in replaced)])

    def _own(self, tier: str, name: str, quota: int, window_s: int, override: Override) -> Rule:
        algorithm = kept_as("gcra" if window_s == BURST_S else "sliding", quota)
        limit = Limit(algorithm, quota, window_s * 1000, override.enforced and self._enabled)
        return Rule(name, window_s, "local", limit, self._counts.of(tier, name))

    def _tier(self, tier: Tier) -> PolicySet:
        rules = [self._rule(tier.name, p) for p in tier.policies if p.mode != "off"]
        return make_set(
            tier.name, rules if tier.concurrency is None else [*rules, self._leases(tier, tier.concurrency)]
        )

    def _leases(self, tier: Tier, quota: int) -> Rule:
        name = f"{tier.name}-concurrency"
        limit = Limit(CONCURRENCY, quota, LEASED_MS, self._enabled)
        return Rule(name, 0, "local", limit, self._counts.of(tier.name, name))

    def _guard(self, label: str, policy: Policy) -> PolicySet:
        rules = [] if policy.mode == "off" else [self._rule(label, policy)]
        return make_set(label, rules, ABUSE if policy.name in GUARDS else QUOTA)

    def _rule(self, label: str, policy: Policy) -> Rule:
        enforced = policy.mode == "enforce" and self._enabled
        limit = Limit(kept_as(policy.algorithm, policy.quota), policy.quota, policy.window * 1000, enforced)
        return Rule(policy.name, policy.window, policy.on_store_failure, limit, self._counts.of(label, policy.name))
