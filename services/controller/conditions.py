"""The conditions of a status (operator.md §3): one yes-or-no each, with a reason that is API and a sentence.

All of them are always there. `Ready` is Accepted and Available and not TiersEnforced=False, no more. Caller: `status`.

Longer than 200 lines because the table of reasons is read as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.controller.backend import Api
from services.controller.facts import Facts, History
from services.controller.notices import notices
from services.core import circuits
from services.schema.scalable_api import PATH_ORDER, Component, ScalableApiSpec
from services.schema.status import ComponentStatus, Status, Truth

DEADLINE_MS: Final = 600_000
DISABLED: Final = ("scalableapi.io/reconcile", "disabled")
FORCE: Final = "scalableapi.io/force-reconcile"
"""An annotation: each new value drops the memory of last writes, and everything is compared anew."""
_LIMITED: Final[Mapping[str, str]] = {
    "AtMaximum": "TooManyReplicas",
    "ScheduleCap": "TooManyReplicas",
    "BudgetCapped": "BudgetCapped",
    "StartsPending": "StartsPending",
    "RolloutInProgress": "RolloutInProgress",
    "PolicyLimited": "PolicyLimit",
    "Draining": "Draining",
    "Stabilized": "Stabilized",
    "Settling": "Settling",
    "AtMinimum": "TooFewReplicas",
    "ScheduleFloor": "TooFewReplicas",
}
"""A decision's reason → the condition's, the worst first: the worst component is named."""

STALLS: Final[Mapping[str, str]] = {"Invalid": "SpecInvalid", "Conflicted": "Conflicted", "Denied": "Denied"}
"""Accepted's reasons for which only a person helps."""

Finding = tuple[str, Truth, str, str]


def conditions(facts: Facts, status: Status, history: History) -> list[Finding]:
    """(type, status, reason, message) of every condition."""
    accepted, available, tiers = _accepted(facts), _available(facts, status), _tiers_enforced(facts)
    found = [
        accepted,
        available,
        _progressing(facts, status, history),
        _scaling_active(facts),
        _scaling_limited(facts),
        tiers,
        _circuits_closed(facts.circuits),
        _paused(facts),
        _degraded(facts),
    ]
    bad = next((f for f in (accepted, available, tiers) if f[1] == "False"), None)
    why = STALLS.get(accepted[2])
    found.append(("Stalled", "True", why, accepted[3]) if why else ("Stalled", "False", "Proceeding", ""))
    refused = "Conflicted" if accepted[2] == "Conflicted" else "SpecInvalid"
    reasons = {"Accepted": refused, "Available": "ComponentsNotReady", "TiersEnforced": "TiersNotEnforced"}
    ready: Finding = ("Ready", "True", "AllComponentsReady", _ready_message(status))
    if bad:
        ready = ("Ready", "False", reasons[bad[0]], bad[3])
    return [ready, *found]


def _ready_message(status: Status) -> str:
    return ", ".join(f"{c.name} {cell(c)}" for c in status.components)


def _accepted(facts: Facts) -> Finding:
    if facts.api.errors:
        return ("Accepted", "False", "Invalid", facts.api.errors[0])
    spec, conflicts = facts.api.spec, [f"{name}: {who}" for name, who in facts.rivals.items()]
    if facts.api.conflict or conflicts:
        return ("Accepted", "False", "Conflicted", facts.api.conflict or "; ".join(conflicts))
    lost = [c for c in spec.components if c.name in PATH_ORDER and c.name not in facts.fleet] if spec else []
    if lost:
        return ("Accepted", "False", "TargetNotFound", "; ".join(_lost(facts.api, c) for c in lost))
    if facts.api.no_token or facts.token_refused:
        return (
            "Accepted",
            "False",
            "ControlTokenUnavailable",
            facts.api.no_token or "a control port refuses our token",
        )
    if facts.denied:
        return ("Accepted", "False", "Denied", "; ".join(facts.denied))
    if facts.api.outdated or facts.old_pods:
        old = f"older than the version before this one: {', '.join(facts.old_pods)}"
        return ("Accepted", "False", "UnsupportedVersion", facts.api.outdated or old)
    return ("Accepted", "True", "Accepted", "; ".join(notices(spec)) if spec else "")


def _lost(api: Api, component: Component) -> str:
    target = component.target_ref.name if component.target_ref else None
    name = target or f"{api.name}-{component.name}"
    why = f"is not there, or has no label scalableapi.io/component: {component.name}"
    return f"Deployment {name} {api.lost.get(component.name, why)}"


def _available(facts: Facts, status: Status) -> Finding:
    for component in status.components:
        if component.ready < min(component.min, component.current) or not component.ready:
            message = f"{component.name} has {component.ready} ready of {component.current}, needs {component.min}"
            pods = facts.fleet[component.name].pods if component.name in facts.fleet else ()
            why = next((f"; {pod.name}: {pod.reason}" for pod in pods if pod.reason and not pod.ready), "")
            return ("Available", "False", "MinimumReplicasUnavailable", message + why)
    return ("Available", "True", "MinimumReplicasReady", "")


def _progressing(facts: Facts, status: Status, history: History) -> Finding:
    key = tuple((c.name, c.desired, c.current, c.ready, c.draining) for c in status.components)
    if (key, facts.record.phase) != history.progress_key:
        history.progress_key, history.progress_ms = (key, facts.record.phase), facts.now_ms
    moving = [c for c in status.components if c.desired != c.current or c.starting or c.draining]
    rotating = facts.record.phase in {"RollingOut", "RollingBack", "Canary"}
    if (moving or rotating) and facts.now_ms - history.progress_ms >= DEADLINE_MS:
        return ("Progressing", "True", "ProgressDeadlineExceeded", "nothing moved for 600 s")
    if moving:
        component = moving[0]
        up = component.desired > component.current or component.starting
        return ("Progressing", "True", "ScalingUp" if up else "ScalingDown", f"{component.name} {cell(component)}")
    rolling = [name for name, workload in facts.fleet.items() if not workload.updated]
    if rolling:
        return ("Progressing", "True", "RollingOut", ", ".join(rolling))
    if rotating:
        return ("Progressing", "True", "Rotating", f"{facts.acked} of {facts.live} have acknowledged")
    return ("Progressing", "False", "Settled", "")


def _scaling_active(facts: Facts) -> Finding:
    auto = {n: d.record for n, d in facts.decisions.items() if d.record.inputs.mode == "Auto"}
    for name, record in auto.items():
        if record.inputs.fallback_replicas is not None:
            return ("ScalingActive", "False", "FallbackActive", f"{name}: no metric can be read")
        if record.metrics and all(metric.missing for metric in record.metrics):
            return ("ScalingActive", "False", "MetricsUnavailable", f"{name}: no metric can be read")
        if record.inputs.conflicted:
            return ("ScalingActive", "False", "Conflicted", f"{name}: {facts.rivals.get(name, '')}")
        if record.reason == "Paused":
            return ("ScalingActive", "False", "Paused", f"{name} is paused")
    if not auto and facts.decisions:
        modes = {d.record.inputs.mode for d in facts.decisions.values()}
        return ("ScalingActive", "False", "Manual" if "Manual" in modes else "Recommending", "")
    return ("ScalingActive", "True", "ValidMetricFound", "")


def _scaling_limited(facts: Facts) -> Finding:
    found: list[tuple[int, str, str]] = []
    for name, decision in facts.decisions.items():
        record = decision.record
        reason = "AtMaximum" if record.raw > record.inputs.maximum else record.reason
        message = f"{name}: {record.raw} wanted, {record.final} decided"
        if record.inputs.draining and reason not in _LIMITED:
            reason, message = "Draining", f"{name}: {record.inputs.draining} draining"
        if reason in _LIMITED:
            found.append((list(_LIMITED).index(reason), _LIMITED[reason], message))
    if not found:
        return ("ScalingLimited", "False", "DesiredWithinRange", "")
    _, reason, message = min(found)
    return ("ScalingLimited", "True", reason, message)


def _tiers_enforced(facts: Facts) -> Finding:
    phase = facts.record.phase
    if not facts.live:
        return ("TiersEnforced", "Unknown", "NoGateways", "")
    if phase in {"RolledBack", "RollingBack"}:
        return ("TiersEnforced", "False", "RolledBack", facts.tiers_message)
    if phase == "Rejected":
        return ("TiersEnforced", "False", "ReloadRejected", facts.tiers_message)
    if facts.stale:
        return ("TiersEnforced", "False", "PodsStale", ", ".join(facts.stale))
    if phase == "Canary" or (facts.acked < facts.live and phase == "RollingOut"):
        message = f"{facts.acked} of {facts.live} have acknowledged"
        return ("TiersEnforced", "False", "RolloutInProgress", message)
    return ("TiersEnforced", "True", "AllPodsAcked", facts.tiers_message)


def _circuits_closed(found: circuits.Aggregate) -> Finding:
    if found.blind:
        return ("CircuitsClosed", "Unknown", "ObservationStale", "no fresh snapshot")
    names = ", ".join(f"{item.component}: {item.name}" for item in found.items if item.state != "Closed")
    if found.open:
        return ("CircuitsClosed", "False", "CircuitOpen", names)
    if found.half_open:
        return ("CircuitsClosed", "False", "CircuitHalfOpen", names)
    return ("CircuitsClosed", "True", "AllClosed", "")


def _paused(facts: Facts) -> Finding:
    spec = facts.api.spec
    if facts.api.annotations.get(DISABLED[0]) == DISABLED[1]:
        return ("Paused", "True", "ReconcileDisabled", "only status is written")
    if spec and (spec.paused.scale_up or spec.paused.scale_down):
        return ("Paused", "True", "ScalingPaused", ",".join(n for n, on in pauses(spec) if on))
    if spec and spec.paused.tiers:
        return ("Paused", "True", "TiersPaused", facts.tiers_message)
    return ("Paused", "False", "NotPaused", "")


def _degraded(facts: Facts) -> Finding:
    fallback = [n for n, d in facts.decisions.items() if d.record.inputs.fallback_replicas is not None]
    if fallback:
        return ("Degraded", "True", "FallbackActive", ", ".join(fallback))
    if facts.degraded_store:
        return ("Degraded", "True", "StoreDegraded", "a gateway limits without its store")
    if facts.unreachable:
        return ("Degraded", "True", "PodsUnreachable", ", ".join(facts.unreachable))
    blind = [n for n, d in facts.decisions.items() if any(m.missing for m in d.record.metrics)]
    if blind:
        return ("Degraded", "True", "PartialObservation", f"a metric is missing: {', '.join(blind)}")
    return ("Degraded", "False", "AsExpected", "")


def cell(component: ComponentStatus) -> str:
    """`ready/current`, and `→desired` while they differ."""
    text = f"{component.ready}/{component.current}"
    return text if component.desired == component.current else f"{text}→{component.desired}"


def pauses(spec: ScalableApiSpec) -> tuple[tuple[str, bool], ...]:
    """What can be paused, and whether it is."""
    return (("up", spec.paused.scale_up), ("down", spec.paused.scale_down), ("tiers", spec.paused.tiers))
