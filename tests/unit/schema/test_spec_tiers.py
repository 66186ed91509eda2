"""`spec.tiers`: its defaults; its bounds and rules are in the table of test_scalable_api."""

from __future__ import annotations

from services.schema.spec_tiers import Canary, SpecPolicy, SpecTier, Tiers
from services.schema.tiers import BUILT_IN


def test_defaults_are_the_documents():
    """The built-in tiers and policies, as the manifest's narrower kinds: they can be dumped as what they are declared."""
    found = Tiers()
    assert (found.anonymous_tier, found.default_tier, found.routes, found.enforcement) == (
        "anonymous",
        "free",
        (),
        "Enforce",
    )
    assert [t.model_dump() for t in found.definitions] == [t.model_dump() for t in BUILT_IN.spec.tiers]
    assert {type(tier) for tier in found.definitions} == {SpecTier}
    assert {type(policy) for tier in found.definitions for policy in tier.policies} == {SpecPolicy}
    assert found.credential_failures.model_dump() == BUILT_IN.spec.credential_failures.model_dump()


def test_rotation_defaults():
    """Immediate, without a canary; a canary's own figures when there is one."""
    rotation, canary = Tiers().rotation, Canary()
    assert (rotation.strategy, rotation.at, rotation.canary) == ("Immediate", None, None)
    assert (rotation.ack_timeout, rotation.history_limit) == ("30s", 3)
    assert (canary.pods_percent, canary.hold, canary.min_requests) == (10, "2m", 100)
    abort = canary.abort_if
    assert (abort.reject_percent_over, abort.error_percent_over, abort.p95_percent_over) == (5, 1, 50)
