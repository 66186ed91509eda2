"""The status as it is stored: a round trip loses nothing."""

from __future__ import annotations

from services.schema.status import (
    Change,
    Circuit,
    Circuits,
    ComponentStatus,
    Condition,
    DecisionInputs,
    DecisionMetric,
    DecisionStep,
    LastDecision,
    ObjectMetadata,
    Status,
    StoredObject,
    TierHistory,
    TierPods,
    TiersStatus,
)

DECISION = LastDecision(
    time="2026-11-24T10:00:02Z", generation=7, from_=4, raw=16, final=16, recommended=16, direction="Up",
    reason="Panic",
    inputs=DecisionInputs(mode="Auto", ready=4, starting=0, pending=0, draining=0, min=2, max=20, tolerance_down=10,
                          tolerance_up=5, up_limit=20, down_limit=2, held_up=3, fallback_replicas=1),
    metrics=(DecisionMetric(name="in-flight", stable="72.5", high="72.5", panic="149", recent="320", target="20",
                            coverage="4/4", proposal=16),),
    steps=(DecisionStep(rule="Metrics", before=4, after=16),),
)  # fmt: skip


def test_a_round_trip_loses_nothing():
    """camelCase in the file, `from` as it is called there, absent what has no value."""
    status = Status(
        conditions=(Condition(type="Ready", status="True", reason="AllComponentsReady"),),
        components=(
            ComponentStatus(
                name="api",
                mode="Auto",
                target="Process/api",
                last_decision=DECISION,
                decisions=(Change(time="t", from_=4, to=16, reason="Panic"),),
            ),
        ),
        tiers=TiersStatus(
            pods=TierPods(total=2, stale=("gateway-1",)),
            history=(TierHistory(revision=1, hash="sha256:0", at="t", outcome="Enforced"),),
        ),
        circuits=Circuits(
            open=1, items=(Circuit(name="api-1", component="balancer", state="Open", pods="1/1", since="t"),)
        ),
    )
    stored = StoredObject(metadata=ObjectMetadata(name="shop", uid="u"), status=status)
    text = stored.model_dump_json(by_alias=True, exclude_none=True)
    assert StoredObject.model_validate_json(text) == stored
    assert '"from":4' in text
    assert '"lastDecision"' in text
    assert "retryAt" not in text


def test_conditions_are_found_by_type():
    """None when there is none of it."""
    status = Status(conditions=(Condition(type="Ready", status="True", reason="x"),))
    found = status.condition("Ready")
    assert found is not None
    assert found.reason == "x"
    assert status.condition("Accepted") is None


def test_text_is_cut_at_its_bound():
    """A long name that a pod reports keeps nothing else from being written."""
    circuit = Circuit(name="n" * 300, component="balancer", state="Open", pods="1/1", since="t", reason="r" * 99)
    assert (len(circuit.name), len(circuit.reason)) == (253, 64)
