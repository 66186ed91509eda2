"""The spec in the core's units, and the windows between ticks."""

from __future__ import annotations

from services.controller.decide import Minded, decide_all, metrics_of, rules_of
from services.controller.fake import FakeBackend, FakePorts
from services.controller.observe import Watch
from services.controller.timetable import timetable
from services.core.autoscale import Memory, Metric, Policy
from tests.unit.controller.scene import START_MS, api, spec


def test_rules():
    """Milliseconds, thousandths; the component's mode over the spec's; Hold has no number."""
    found = spec(
        mode="Recommend",
        replicas=7,
        paused={"scaleUp": True},
        api={
            "mode": "Manual",
            "fallback": {"after": "1m", "replicas": 3},
            "metrics": [{"name": "lag", "type": "LoopLag", "target": "1.5"}],
        },
    )
    component = found.component("api")
    assert component is not None
    rules = rules_of(found, component, timetable(START_MS, component))
    assert rules.metrics == (Metric("lag", "ratio", 1500),)
    assert (rules.mode, rules.manual_replicas, rules.paused_up, rules.paused_down) == ("Manual", 7, True, False)
    assert (rules.stable_ms, rules.panic_ms, rules.fallback_after_ms, rules.fallback_replicas) == (
        6000,
        2000,
        60_000,
        3,
    )
    assert rules.up.policies == (Policy("Percent", 400, 15_000), Policy("Pods", 8, 15_000))
    held = spec(api={"fallback": {"behavior": "Hold", "replicas": 3}})
    component = held.component("api")
    assert component is not None
    assert rules_of(held, component, timetable(START_MS, component)).fallback_replicas is None


def test_defaults_per_component():
    """operator.md §5.2's last column."""
    found = spec(components=[{"name": "gateway"}, {"name": "api"}, {"name": "worker"}])
    assert [[(m.type, m.target) for m in metrics_of(c)] for c in found.components] == [
        [("InFlight", 100), ("CPU", 65)],
        [("InFlight", 20), ("CPU", 65)],
        [],
    ]


async def test_windows_begin_anew_when_a_metric_changes():
    """Another type under the same name: its past means nothing."""
    backend, ports, watch = FakeBackend(api()), FakePorts(), Watch()
    backend.have("api", 2)
    ports.says["api"] = {"rps": 50.0, "in_flight": 1}
    minded = {"api": Minded(Memory(0))}
    pods = backend.workloads["api"].pods
    for second in range(1, 4):
        watch.take(second * 1000, (await ports.poll(pods, "t")).snapshots, [pod.uid for pod in pods])
        first = decide_all(second * 1000, spec(), backend.workloads, watch, minded)
    assert first["api"].record.metrics[0].stable == 100_000
    other = spec(api={"metrics": [{"name": "rps", "type": "InFlight", "target": 60}]})
    then = decide_all(4000, other, backend.workloads, watch, minded)
    assert then["api"].record.metrics[0].stable == 2000
