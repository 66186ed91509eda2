"""Conditions whose moment the loop's other tests do not reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.controller.prometheus import PrometheusServers
from services.schema.snapshot import BreakerState
from tests.unit.controller.scene import Stage, api, spec

REASONS = {
    "Ready": "AllComponentsReady ComponentsNotReady SpecInvalid Conflicted TiersNotEnforced",
    "Accepted": "Accepted Invalid Conflicted TargetNotFound ControlTokenUnavailable Denied UnsupportedVersion",
    "Available": "MinimumReplicasReady MinimumReplicasUnavailable",
    "Progressing": "Settled ScalingUp ScalingDown RollingOut Rotating ProgressDeadlineExceeded",
    "ScalingActive": "ValidMetricFound MetricsUnavailable FallbackActive Conflicted Paused Manual Recommending",
    "ScalingLimited": "DesiredWithinRange TooManyReplicas TooFewReplicas PolicyLimit Stabilized BudgetCapped "
    "StartsPending RolloutInProgress Settling Draining",
    "TiersEnforced": "AllPodsAcked RolloutInProgress PodsStale ReloadRejected RolledBack NoGateways",
    "CircuitsClosed": "AllClosed CircuitOpen CircuitHalfOpen ObservationStale",
    "Paused": "NotPaused ScalingPaused TiersPaused ReconcileDisabled",
    "Degraded": "AsExpected FallbackActive StoreDegraded PodsUnreachable PartialObservation",
    "Stalled": "Proceeding SpecInvalid Conflicted Denied",
}


async def test_available_names_what_keeps_a_pod_from_running():
    """Below the floor: which component, how many, and the pod's own reason."""
    stage = Stage()
    workload = stage.backend.workloads["api"]
    broken = replace(workload.pods[0], ready=False, phase="Failed", reason="ended with signal 9")
    stage.backend.workloads["api"] = replace(workload, pods=(broken, workload.pods[1]))
    await stage.seconds(1)
    assert "api has 1 ready of 2, needs 2" in stage.condition("Available").message
    assert "ended with signal 9" in stage.condition("Available").message
    assert stage.condition("Ready").reason == "ComponentsNotReady"


@pytest.mark.parametrize(("mode", "reason"), [("Manual", "Manual"), ("Recommend", "Recommending")])
async def test_nothing_auto(mode, reason):
    """ScalingActive=False names the mode."""
    stage = Stage()
    stage.change(spec=spec(mode=mode))
    await stage.seconds(1)
    assert stage.condition("ScalingActive").reason == reason


async def test_half_open_and_blind_circuits():
    """CircuitHalfOpen; without any fresh snapshot Unknown."""
    stage = Stage()
    stage.ports.says["balancer"] = {"breakers": (BreakerState("api-1", "half-open", "t"),)}
    await stage.seconds(1)
    assert stage.condition("CircuitsClosed").reason == "CircuitHalfOpen"
    assert stage.status.summary.circuits == "1 half-open"
    stage.ports.mute = {pod.name for w in stage.backend.workloads.values() for pod in w.pods}
    await stage.seconds(10)
    assert stage.condition("CircuitsClosed").reason == "ObservationStale"
    assert stage.status.summary.circuits == "unknown"


async def test_progress_has_a_deadline():
    """Nothing moved for 600 s while something should."""
    stage = Stage()
    stage.backend._start_ready = False
    stage.change(spec=spec(api={"minReplicas": 3}))
    await stage.seconds(2)
    assert stage.condition("Progressing").reason == "ScalingUp"
    await stage.seconds(620)
    assert stage.condition("Progressing").reason == "ProgressDeadlineExceeded"


async def test_limits_are_named():
    """TooManyReplicas while more is wanted than allowed; Draining while one goes."""
    stage = Stage(api=8)
    stage.ports.says["api"] = {"rps": 90.0, "in_flight": 1}
    await stage.seconds(10)
    assert stage.condition("ScalingLimited").reason == "TooManyReplicas"
    stage.ports.says["api"] = {"rps": 30.0, "in_flight": 1}
    reasons = set()
    for _ in range(20):
        await stage.seconds(1)
        reasons.add(stage.condition("ScalingLimited").reason)
    assert "Draining" in reasons


async def test_stuck_starts_are_told():
    """Replicas that do not come up: no more are added, StartsPending, StartsStuck."""
    stage = Stage()
    await stage.seconds(8)
    stage.backend._start_ready = False
    stage.ports.says["api"] = {"rps": 100.0}
    await stage.seconds(80)
    stage.ports.says["api"] = {"rps": 300.0}
    await stage.seconds(8)
    assert "StartsStuck" in stage.reasons()


async def test_everything_missing_is_metrics_unavailable_before_the_fallback():
    """Between the first miss and `after`."""
    stage = Stage()
    stage.ports.mute = {pod.name for pod in stage.backend.workloads["api"].pods}
    await stage.seconds(5)
    assert stage.condition("ScalingActive").reason == "MetricsUnavailable"


async def test_a_target_that_is_not_there_is_named():
    """TargetNotFound: the Deployment and the label that it needs; the rest is decided all the same."""
    stage = Stage()
    del stage.backend.workloads["balancer"]
    await stage.seconds(1)
    assert stage.condition("Accepted").reason == "TargetNotFound"
    assert "Deployment shop-balancer is not there" in stage.condition("Accepted").message
    assert stage.condition("Stalled").status == "False"


@pytest.mark.parametrize(
    ("theirs", "ours", "reason"),
    [
        ("1.0.0", "1.1.3", "Accepted"),
        ("1.0.0", "1.2.0", "UnsupportedVersion"),
        ("0.9.0", "1.0.0", "UnsupportedVersion"),
        ("2.0.0", "1.0.0", "Accepted"),
        ("dev", "1.2.0", "Accepted"),
    ],
)
async def test_pods_of_the_version_before_are_read_older_ones_named(theirs, ours, reason):
    """UnsupportedVersion from two minor versions on; what is no version is not judged."""
    stage = Stage()
    stage.ports.says["api"] = {"version": theirs}
    stage.controller._visitor = replace(stage.controller._visitor, version=ours)
    for component in ("gateway", "balancer"):
        stage.ports.says[component] = {"version": ours}
    await stage.seconds(1)
    assert stage.condition("Accepted").reason == reason


async def test_an_old_crd_is_named():
    """UnsupportedVersion, in the home's words."""
    stage = Stage(api(outdated="the CRD is of 0.9, this is 1.0: apply the new one"))
    await stage.seconds(1)
    assert stage.condition("Accepted").reason == "UnsupportedVersion"
    assert "apply the new one" in stage.condition("Accepted").message


async def test_a_rollout_of_a_workload_is_progress():
    """RollingOut names it; nothing is lowered meanwhile."""
    stage = Stage()
    stage.backend.workloads["api"] = replace(stage.backend.workloads["api"], updated=False)
    await stage.seconds(1)
    assert (stage.condition("Progressing").reason, stage.condition("Progressing").message) == ("RollingOut", "api")


async def test_a_metric_that_is_missing_beside_others_is_partial_observation():
    """The pods are heard, a query is not."""
    stage = Stage()
    query = {"query": "orders", "server": "default"}
    metrics = [
        {"name": "rps", "type": "RPS", "target": 60},
        {"name": "orders", "type": "Prometheus", "target": 10, "prometheus": query},
    ]
    stage.numbers = PrometheusServers({"default": "http://127.0.0.1:1"})
    stage.restart()
    stage.change(spec=spec(api={"metrics": metrics}))
    await stage.seconds(1)
    assert stage.condition("Degraded").reason == "PartialObservation"
    assert stage.condition("ScalingActive").status == "True"


async def test_every_condition_has_a_reason_of_the_table():
    """operator.md §3: reasons are API; the eleven types are there from the first visit."""
    stage = Stage()
    status = await stage.seconds(1)
    assert {c.type for c in status.conditions} == set(REASONS)
    assert all(c.reason in REASONS[c.type].split() for c in status.conditions)
