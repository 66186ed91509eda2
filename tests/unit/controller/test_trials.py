"""Canary, schedule, audit: a document that is tried before it is everywhere (operator.md §6), in virtual time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from services.schema.snapshot import Latency, LimiterState
from tests.unit.controller.scene import Stage, spec

CANARY = {"hold": "30s", "minRequests": 100, "podsPercent": 10}


def policies(quota: int, **tiers: Any) -> Any:
    """A spec whose free tier has another quota."""
    free = {
        "name": "free",
        "criticality": "sheddable-plus",
        "policies": [{"name": "free", "quota": quota, "window": 60}],
    }
    anonymous = {"name": "anonymous", "criticality": "sheddable"}
    first = anonymous | {"policies": [{"name": "anonymous", "quota": 100, "window": 60}]}
    return spec(tiers={"definitions": [first, free], **tiers})


def canary(quota: int = 2000, **changes: Any) -> Any:
    return policies(quota, rotation={"strategy": "Canary", "canary": CANARY | changes})


async def settled(**replicas: Any) -> Stage:
    stage = Stage(**replicas)
    stage.change(spec=policies(1000))
    stage.ports.says["gateway"] = {
        "rps": 50.0,
        "latency": Latency(5.0, 10.0, 20.0),
        "limiter": LimiterState("exact", degraded=False),
    }
    await stage.seconds(3)
    return stage


def enforced(stage: Stage) -> dict[str, int]:
    return {name: tier.revision for name, tier in stage.ports.enforced.items()}


async def test_a_canary_goes_first_and_then_everybody():
    """One of four, the oldest; the others and the balancer wait; after the hold all enforce the same revision."""
    stage = await settled(gateway=4)
    stage.change(spec=canary())
    status = await stage.seconds(2)
    assert (status.tiers.phase, status.summary.tiers) == ("Canary", "r1→r2 1/5")
    assert enforced(stage) == {f"gateway-{n}": 2 if n == 1 else 1 for n in range(1, 5)} | {"balancer-5": 1}
    assert stage.condition("TiersEnforced").reason == "RolloutInProgress"
    assert stage.condition("Progressing").reason == "Rotating"
    status = await stage.seconds(20)
    assert status.tiers.canary is not None
    assert (status.tiers.canary.pods, status.tiers.canary.requests > 0) == (("gateway-1",), True)
    status = await stage.seconds(12)
    assert (status.tiers.phase, status.tiers.active_revision, status.tiers.canary) == ("Active", 2, None)
    assert set(enforced(stage).values()) == {2}
    assert [(h.revision, h.outcome) for h in status.tiers.history] == [(1, "Enforced")]
    assert {"TiersCanaryStarted", "TiersRotated"} <= set(stage.reasons())


async def test_a_canary_that_refuses_too_much_goes_back_by_itself():
    """More than five points over the others for five seconds: the old content as revision 3, not tried again."""
    stage = await settled(gateway=4)
    stage.change(spec=canary())
    await stage.seconds(1)
    stage.ports.says["gateway-1"] = {"limiter": LimiterState("exact", degraded=False, denied_rps=10.0)}
    status = await stage.seconds(17)
    assert (status.tiers.phase, status.tiers.active_revision) == ("RolledBack", 3)
    assert {tier.hash for tier in stage.ports.enforced.values()} == {status.tiers.active_hash}
    assert status.tiers.active_hash == status.tiers.history[1].hash
    assert [h.outcome for h in status.tiers.history] == ["RolledBack", "Enforced"]
    assert status.tiers.failed_hash == status.tiers.history[0].hash
    stage.ports.says["gateway-1"] = {}
    assert (await stage.seconds(40)).tiers.phase == "RolledBack"
    stage.change(spec=canary(), annotations={"scalableapi.io/retry-rotation": "1"})
    assert (await stage.seconds(2)).tiers.phase == "Canary"
    assert (await stage.seconds(35)).tiers.phase == "Active"


async def test_a_canary_whose_pod_refuses_the_document_goes_back():
    """422 from the canary: the others never saw it."""
    stage = await settled(gateway=3)
    stage.ports.refuses = {"gateway-1"}
    stage.change(spec=canary())
    await stage.seconds(1)
    stage.ports.refuses = set()
    status = await stage.seconds(2)
    assert (status.tiers.phase, status.tiers.active_revision) == ("RolledBack", 3)
    assert "push gateway-2 r2" not in stage.ports.calls


async def test_a_spec_that_changes_during_a_canary_goes_back_first():
    """The candidate is Superseded, nothing failed, the next one gets a canary of its own."""
    stage = await settled(gateway=3)
    stage.change(spec=canary())
    await stage.seconds(2)
    stage.change(spec=canary(3000))
    status = await stage.seconds(2)
    assert (status.tiers.phase, status.tiers.failed_hash) == ("Canary", "")
    assert [h.outcome for h in status.tiers.history[:2]] == ["Superseded", "Enforced"]
    stage.change(spec=policies(1000))
    status = await stage.seconds(3)
    assert {tier.hash for tier in stage.ports.enforced.values()} == {status.tiers.active_hash}
    assert status.tiers.phase == "Active"


async def test_without_traffic_a_canary_ends_after_three_holds():
    """It saw too little to be judged: rolled out, and its outcome says so when the next one comes."""
    stage = await settled(gateway=2)
    stage.ports.says["gateway"] = {}
    stage.change(spec=canary())
    assert (await stage.seconds(60)).tiers.phase == "Canary"
    assert (await stage.seconds(35)).tiers.phase == "Active"
    stage.change(spec=policies(4000))
    assert (await stage.seconds(2)).tiers.history[0].outcome == "NoTraffic"


async def test_a_canary_outlives_its_controller():
    """Another one takes over: the same pods, the same hold; the comparison begins anew."""
    stage = await settled(gateway=4)
    stage.change(spec=canary())
    await stage.seconds(5)
    stage.restart()
    status = await stage.seconds(5)
    assert (status.tiers.phase, set(enforced(stage).values())) == ("Canary", {1, 2})
    assert (await stage.seconds(25)).tiers.phase == "Active"


async def test_only_the_breaker_needs_no_canary():
    """A gateway has nothing to compare there."""
    stage = await settled(gateway=4)
    changed = canary(1000).model_copy(
        update={"circuit_breaker": spec(circuitBreaker={"openSeconds": 31}).circuit_breaker}
    )
    stage.change(spec=changed)
    assert (await stage.seconds(1)).tiers.phase == "Active"


async def test_a_moment_is_waited_for():
    """Scheduled: pending in status, True meanwhile; from `at` on as usual; the spec back: nothing is pending."""
    stage = await settled()
    at = datetime.fromtimestamp(stage.now_ms / 1000 + 10, UTC).isoformat().replace("+00:00", "Z")
    stage.change(spec=policies(2000, rotation={"strategy": "Scheduled", "at": at}))
    status = await stage.seconds(2)
    assert (status.tiers.phase, stage.condition("TiersEnforced").status) == ("Scheduled", "True")
    assert status.tiers.pending is not None
    assert (status.tiers.pending.revision, status.tiers.pending.at) == (2, at)
    stage.change(spec=policies(1000))
    status = await stage.seconds(1)
    assert (status.tiers.phase, status.tiers.pending) == ("Active", None)
    stage.change(spec=policies(2000, rotation={"strategy": "Scheduled", "at": at}))
    status = await stage.seconds(8)
    assert (status.tiers.phase, status.tiers.active_revision, status.tiers.pending) == ("Active", 2, None)
    assert stage.reasons().count("TiersScheduled") == 2


async def test_an_audit_refuses_nobody_and_counts():
    """The changed policy beside the one in force, as a shadow; what it would refuse, once a minute; then Enforce."""
    stage = await settled()
    stage.change(spec=policies(20, enforcement="Audit"))
    stage.ports.says["gateway"] = {
        "rps": 50.0,
        "limiter": LimiterState("exact", degraded=False, shadow_denied_rps=10.0),
    }
    status = await stage.seconds(65)
    assert (status.tiers.phase, status.tiers.message) == ("Shadowing", "audited: free")
    assert stage.condition("TiersEnforced").status == "True"
    assert status.tiers.shadow is not None
    assert (status.tiers.shadow.would_reject_percent, status.tiers.shadow.requests > 1000) == (20, True)
    assert stage.backend.record is not None
    assert stage.backend.record.active is not None
    free = stage.backend.record.active.spec.tiers[1]
    assert [(p.name, p.quota, p.mode) for p in free.policies] == [
        ("free", 1000, "enforce"),
        ("free-next", 20, "shadow"),
    ]
    stage.change(spec=policies(20))
    status = await stage.seconds(2)
    assert (status.tiers.phase, status.tiers.shadow) == ("Active", None)
    assert [p.name for p in stage.backend.record.active.spec.tiers[1].policies] == ["free"]
    assert stage.reasons().count("TiersShadowing") == 1


async def test_an_audit_that_is_taken_back():
    """The spec is what was in force: no shadows are left, phase Active."""
    stage = await settled()
    stage.change(spec=policies(20, enforcement="Audit"))
    await stage.seconds(2)
    stage.change(spec=policies(1000, enforcement="Audit"))
    status = await stage.seconds(2)
    assert (status.tiers.phase, status.tiers.active_revision) == ("Active", 3)
    assert status.tiers.active_hash == status.tiers.history[1].hash


@pytest.mark.parametrize("paused", [True, False])
async def test_a_pause_shows_what_waits(paused):
    """Pending has no moment; resumed, it rolls."""
    stage = await settled()
    stage.change(spec=policies(2000).model_copy(update={"paused": spec(paused={"tiers": True}).paused}))
    status = await stage.seconds(1)
    assert status.tiers.pending is not None
    assert (status.tiers.pending.revision, status.tiers.pending.at) == (2, None)
    if not paused:
        stage.change(spec=policies(2000))
        assert (await stage.seconds(1)).tiers.active_revision == 2
