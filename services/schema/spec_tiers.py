"""`spec.tiers` of a `ScalableApi` (operator.md §1): the tiers document's content as a user writes it, and its rotation.

Names and values are the document's (`schema.tiers`); narrower are only the policies: at most four per tier, names of at
most 27 characters that don't end in `-next`, because a rotation in Audit runs `<name>-next` beside each.
Caller: schema.scalable_api.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from services.schema.quantities import Between, Instant
from services.schema.rules import Keyed, rule
from services.schema.tiers import (
    BUILT_IN_CREDENTIAL_FAILURES,
    BUILT_IN_TIERS,
    WORD,
    Int,
    Policy,
    RouteRule,
    Strict,
    Tier,
    Word,
)

POLICIES_PER_TIER: Final = 4


class SpecPolicy(Policy):
    """`quota` units per `window` seconds, for each identifier by itself."""

    name: Annotated[str, Field(pattern=WORD, max_length=27)] = Field(
        description="Its name in counters and answers; unique, and not ending in -next."
    )

    @rule("R16", "!self.name.endsWith('-next')", "ends in -next, which a rotation adds; rename it", "name")
    def _not_next(self) -> bool:
        return not self.name.endswith("-next")


class SpecTier(Tier):
    """What one kind of subscriber may do."""

    policies: Annotated[tuple[SpecPolicy, ...], Field(min_length=1, max_length=POLICIES_PER_TIER), Keyed()] = Field(
        description="Limits of each subscriber; all must admit a request. Never shared by the tier."
    )


class SpecRoute(RouteRule):
    """What a request to `match` costs, how much it matters, and a policy of its own beside the tier's."""

    policy: SpecPolicy | None = Field(None, description="A limit of its own, beside the tier's.")


_BUILT_IN_TIERS: Final = tuple(SpecTier.model_validate(t.model_dump(exclude_unset=True)) for t in BUILT_IN_TIERS)
_BUILT_IN_CREDENTIAL_FAILURES: Final = SpecPolicy.model_validate(
    BUILT_IN_CREDENTIAL_FAILURES.model_dump(exclude_unset=True)
)


class AbortIf(Strict):
    """When a canary is worse than the rest."""

    reject_percent_over: Int = Field(
        5, ge=0, le=100, description="Refused requests: this many percentage points above the other gateways'."
    )
    error_percent_over: Int = Field(
        1, ge=0, le=100, description="Failed requests: this many percentage points above the other gateways'."
    )
    p95_percent_over: Int = Field(
        50, ge=0, le=1000, description="95th percentile of latency: this many percent higher."
    )


class Canary(Strict):
    """A few gateways first."""

    pods_percent: Int = Field(
        10, ge=1, le=50, description="Gateways that go first, in percent, rounded up; at least one, never all."
    )
    hold: Annotated[str, Between("10s", "24h")] = Field("2m", description="How long they are compared with the rest.")
    min_requests: Int = Field(100, ge=0, le=1_000_000, description="Requests on both sides before they are compared.")
    abort_if: AbortIf = Field(AbortIf(), description="What brings the old document back.")


class Rotation(Strict):
    """How a changed document reaches the processes."""

    strategy: Literal["Immediate", "Canary", "Scheduled"] = Field(
        "Immediate", description="Immediate: all at once. Canary: a few gateways first. Scheduled: not before at."
    )
    at: Instant | None = Field(
        None, description="Not before this moment (RFC 3339); with strategy Scheduled, and only then."
    )
    canary: Canary | None = Field(
        None,
        description="How a canary runs; Scheduled starts with one if this is present, Canary without it = its defaults.",
    )
    ack_timeout: Annotated[str, Between("1s", "10m")] = Field(
        "30s", description="After it a live process that has not acknowledged is named in status."
    )
    history_limit: Int = Field(3, ge=0, le=5, description="Documents shown in status.tiers.history.")

    @rule(
        "R11",
        "(self.strategy == 'Scheduled') == has(self.at)",
        "at stands with strategy Scheduled, and only then; add or remove it",
        "at",
    )
    def _when(self) -> bool:
        return (self.strategy == "Scheduled") == (self.at is not None)


class Tiers(Strict):
    """Who may ask how much; `definitions` is in rank order, `routes` stand before the document's own."""

    anonymous_tier: Word = Field(
        "anonymous", description="Tier of requests without a key or session; it must be defined."
    )
    default_tier: Word = Field(
        "free", description="Tier of a subscriber whose tier is not defined; it must be defined itself."
    )
    definitions: Annotated[tuple[SpecTier, ...], Field(min_length=1, max_length=32), Keyed()] = Field(
        _BUILT_IN_TIERS, description="The tiers, lowest rank first."
    )
    routes: Annotated[tuple[SpecRoute, ...], Field(max_length=128)] = Field(
        (), description="Costs and policies of routes, before the built-in ones; the first match wins."
    )
    credential_failures: SpecPolicy = Field(
        _BUILT_IN_CREDENTIAL_FAILURES, description="Bad keys and tokens that one client network may send."
    )
    enforcement: Literal["Enforce", "Audit"] = Field(
        "Enforce", description="Audit: what changed is counted and reported, and refuses nobody."
    )
    rotation: Rotation = Field(Rotation(), description="How a changed document reaches the processes.")

    @rule(
        "R10",
        "self.definitions.exists(d, d.name == self.anonymousTier)",
        "anonymousTier {self.anonymous_tier!r} names no tier of definitions; name one, or define it",
        "anonymousTier",
    )
    def _anonymous_is_defined(self) -> bool:
        return any(tier.name == self.anonymous_tier for tier in self.definitions)

    @rule(
        "R10",
        "self.definitions.exists(d, d.name == self.defaultTier)",
        "defaultTier {self.default_tier!r} names no tier of definitions; name one, or define it",
        "defaultTier",
    )
    def _default_is_defined(self) -> bool:
        return any(tier.name == self.default_tier for tier in self.definitions)
