"""DECIDE: the spec as the core's rules, the readings as its windows, one decision per component (operator.md §5).

No arithmetic of scaling is here; `core.demand` and `core.autoscale` have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from services.controller.backend import Fleet, Pod
from services.controller.budgets import Purse
from services.controller.observe import Watch, counts, readings
from services.controller.overwrites import Claim
from services.controller.prometheus import Name
from services.controller.timetable import Timetable, timetable
from services.core import autoscale
from services.core.autoscale import Decision, Memory, Ring, Rules, Window
from services.core.demand import RATIO_TYPES, Demand, Reading, demand
from services.schema.scalable_api import (
    PATH_ORDER,
    Component,
    Metric,
    ScalableApiSpec,
    ScaleDown,
    ScaleUp,
    duration_ms,
    target_milli,
)

DEFAULT_METRICS: Final[Mapping[str, tuple[Metric, ...]]] = {
    "gateway": (Metric(name="in-flight", type="InFlight", target=100), Metric(name="cpu", type="CPU", target=65)),
    "balancer": (Metric(name="in-flight", type="InFlight", target=100), Metric(name="cpu", type="CPU", target=65)),
    "api": (Metric(name="in-flight", type="InFlight", target=20), Metric(name="cpu", type="CPU", target=65)),
}
"""operator.md §5.2's last column."""


@dataclass(slots=True)
class Victim:
    """A pod on its way out (§5.6), as it was picked at `since_ms`; `asked_ms` = the last drain call that was heard."""

    pod: Pod
    since_ms: int
    asked_ms: int | None = None
    idle_seq: int = -1
    idle_twice: bool = False
    empty: bool = False
    leaving_ms: int | None = None


@dataclass(slots=True)
class Minded:
    """What is remembered of one component between ticks."""

    memory: Memory
    rings: dict[str, Ring] = field(default_factory=dict)
    shape: tuple[object, ...] = ()
    victims: dict[str, Victim] = field(default_factory=dict)
    scaled_at_ms: int = -1_000_000
    table: Timetable | None = None
    claim: Claim = field(default_factory=Claim)


def rules_of(spec: ScalableApiSpec, component: Component, table: Timetable, budget_cap: int | None = None) -> Rules:
    """The component's part of the spec, in the core's units, with the bounds that hold now."""
    behavior, fallback = component.behavior, component.fallback
    higher = fallback.behavior == "HoldOrHigher"
    return Rules(
        metrics=tuple(
            autoscale.Metric(m.name, "ratio" if _averaged(m) else "sum", target_milli(m.target))
            for m in metrics_of(component)
        ),
        minimum=table.bounds.minimum,
        maximum=table.bounds.maximum,
        mode=component.mode or spec.mode,
        manual_replicas=spec.replicas if component.name == "api" else component.replicas,
        paused_up=spec.paused.scale_up,
        paused_down=spec.paused.scale_down,
        stable_ms=duration_ms(behavior.stable_window),
        panic_ms=duration_ms(behavior.panic.window),
        panic_percent=behavior.panic.threshold_percent,
        up=_side(behavior.scale_up),
        down=_side(behavior.scale_down),
        fallback_after_ms=duration_ms(fallback.after),
        fallback_replicas=fallback.replicas if higher else None,
        scheduled=table.scheduled,
        budget_cap=budget_cap,
    )


def _averaged(metric: Metric) -> bool:
    return metric.prometheus.kind == "Ratio" if metric.prometheus else metric.type in RATIO_TYPES


def _side(side: ScaleUp | ScaleDown) -> autoscale.Side:
    policies = tuple(autoscale.Policy(p.type, p.value, duration_ms(p.period)) for p in side.policies)
    return autoscale.Side(side.tolerance_percent, duration_ms(side.stabilization_window), side.select, policies)


def metrics_of(component: Component) -> tuple[Metric, ...]:
    """Those of the spec, or the component's defaults."""
    return component.metrics or DEFAULT_METRICS.get(component.name, ())


def decide_all(
    now_ms: int,
    spec: ScalableApiSpec,
    fleet: Fleet,
    watch: Watch,
    minded: dict[str, Minded],
    *,
    purse: Purse | None = None,
    fetched: Mapping[Name, float] | None = None,
    acts: bool = True,
) -> dict[str, Decision]:
    """A decision for every component that has a workload, in path order. Fills the windows, updates the memories."""
    decisions: dict[str, Decision] = {}
    for position, name in enumerate(PATH_ORDER):
        component, workload = spec.component(name), fleet.get(name)
        if component is None or workload is None:
            continue
        mind = minded.setdefault(name, Minded(Memory(now_ms)))
        callers = readings(now_ms, fleet.get(PATH_ORDER[position - 1]), watch) if position else []
        pods = readings(now_ms, workload, watch)
        values = {m.name: _value(name, m, pods, callers, fetched or {}) for m in metrics_of(component)}
        windows = _windows(now_ms, component, values, mind)
        mind.table = timetable(now_ms, component, mind.table)
        rules = rules_of(spec, component, mind.table, purse.cap(name, decisions) if purse else None)
        mind.claim.look(now_ms, workload, ours=acts and _sets(rules))
        contested = bool(rules.mode == "Auto" and workload.rivals) or mind.claim.contested
        seen = replace(counts(now_ms, workload, watch, frozenset(mind.victims)), conflicted=contested)
        decision = autoscale.decide(now_ms, seen, windows, rules, mind.memory)
        mind.memory = decision.memory
        decisions[name] = decision
    return decisions


def _sets(rules: Rules) -> bool:
    """Is the count ours to set? Not in Recommend, nor in Manual without a number."""
    return rules.mode == "Auto" or (rules.mode == "Manual" and rules.manual_replicas is not None)


def _value(
    name: str, metric: Metric, pods: Sequence[Reading], callers: Sequence[Reading], fetched: Mapping[Name, float]
) -> Demand:
    if metric.prometheus is None:
        return demand(metric.type, pods, callers, target_milli(metric.target))
    found = fetched.get((name, metric.name))
    milli = round(1000 * found) if found is not None else 0
    return Demand(milli, milli, fresh=int(found is not None), ready=1, missing=found is None)


def _windows(now_ms: int, component: Component, values: Mapping[str, Demand], mind: Minded) -> dict[str, Window]:
    shape = (
        ("stable", component.behavior.stable_window),
        *((m.name, m.type, m.prometheus) for m in metrics_of(component)),
    )
    if shape != mind.shape:  # another metric of the same name, or another span: its past means nothing
        mind.shape, mind.rings = shape, {}
    windows = {}
    for name, value in values.items():
        ring = mind.rings.setdefault(name, Ring(duration_ms(component.behavior.stable_window)))
        if not value.missing:
            ring.push(now_ms, value.low, value.high)
        windows[name] = Window(ring, value.fresh, value.ready, value.missing)
    return windows
