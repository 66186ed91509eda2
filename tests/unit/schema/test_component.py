"""A component's defaults (operator.md §1); its bounds and rules are in the table of test_scalable_api."""

from __future__ import annotations

from services.schema.component import Component


def test_defaults():
    """Each figure of the design page."""
    found = Component(name="api")
    behavior = found.behavior
    assert (found.min_replicas, found.max_replicas, found.mode, found.metrics, found.schedule) == (1, 10, None, (), ())
    assert (behavior.stable_window, behavior.panic.window, behavior.panic.threshold_percent) == ("60s", "6s", 200)
    up, down = behavior.scale_up, behavior.scale_down
    assert (up.tolerance_percent, up.stabilization_window, up.select) == (5, "0s", "Max")
    assert (down.tolerance_percent, down.stabilization_window, down.select) == (10, "300s", "Max")
    assert [(p.type, p.value, p.period) for p in up.policies] == [("Percent", 400, "15s"), ("Pods", 8, "15s")]
    assert [(p.type, p.value, p.period) for p in down.policies] == [("Percent", 50, "15s")]
    assert (found.drain.timeout, found.drain.settle) == ("60s", "5s")
    assert (found.fallback.after, found.fallback.behavior, found.fallback.replicas) == ("30s", "HoldOrHigher", None)
