"""Conditions whose moment the loop's other tests do not reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.schema.snapshot import BreakerState
from tests.unit.controller.scene import Stage, spec


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
