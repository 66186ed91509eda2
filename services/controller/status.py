"""STATUS: what the tick saw and did, as the object's status and conditions (operator.md §2, §3, §7).

Pure: facts in, a `Status` out; equal facts give equal bytes, so an object at rest is written never. Numbers that move
at rest are not in it. Caller: controller.publish.

Longer than 200 lines because it writes the whole document, part by part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.controller.apply import milli_text
from services.controller.conditions import Finding, cell, conditions, pauses
from services.controller.facts import Facts, History
from services.core import autoscale, circuits
from services.runtime.vitals import rfc3339
from services.schema.scalable_api import PATH_ORDER, ScalableApiSpec
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
    PendingTiers,
    Status,
    Summary,
    TierPods,
    TiersStatus,
)

MAX_BYTES: Final = 16 * 1024
MAX_DECISIONS: Final = 10
STILL_MS: Final = 60_000
"""A decision that moves nothing is shown this long after the last one: until then the move and its reason stay."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is kept of a status between two visits; the document itself is sixty kilobytes of models."""

    digest: bytes = b""
    turned: tuple[object, ...] = ()
    circuits: str = ""
    conditions: tuple[tuple[str, str, str], ...] = ()
    """Type, status, and since when."""
    replicas: tuple[tuple[str, int, int, int, int, int], ...] = ()
    """By component: desired, ready, min, max, recommended."""


def shown(status: Status) -> Shown:
    """Equal ones are of equal statuses."""
    text = status.model_dump_json(by_alias=True, exclude_none=True)
    return Shown(
        digest=hashlib.blake2b(text.encode(), digest_size=16).digest(),
        turned=turned(status),
        circuits=status.circuits.model_dump_json(),
        conditions=tuple((c.type, c.status, c.last_transition_time) for c in status.conditions),
        replicas=tuple((c.name, c.desired, c.ready, c.min, c.max, c.recommended) for c in status.components),
    )


def build(facts: Facts, before: Shown, history: History) -> Status:
    """The status of this tick; `before` keeps transition times, `history` the decisions."""
    spec = facts.api.spec
    components = tuple(_component(facts, spec, name, history) for name in PATH_ORDER if spec and spec.component(name))
    api = next((c for c in components if c.name == "api"), None)
    status = Status(
        observed_generation=facts.api.generation,
        summary=_summary(facts, components),
        replicas=api.current if api else 0,
        last_scale_time=max((c.last_scale_time for c in components if c.last_scale_time), default=None),
        controller_version=facts.version,
        components=components,
        tiers=_tiers(facts),
        circuits=_circuits(facts.circuits),
        budget=facts.purse.status(facts.decisions) if facts.purse else None,
    )
    found = conditions(facts, status, history)
    return trimmed(status.model_copy(update={"conditions": _timed(facts, found, before)}))


def trimmed(status: Status) -> Status:
    """At most 16 KiB: decisions go first, then circuits beyond 16, stale names, history."""
    without: list[Callable[[Status], dict[str, object]]] = [
        lambda s: {"components": tuple(c.model_copy(update={"decisions": ()}) for c in s.components)},
        lambda s: {"circuits": s.circuits.model_copy(update={"items": s.circuits.items[:16]})},
        lambda s: {"tiers": s.tiers.model_copy(update={"pods": s.tiers.pods.model_copy(update={"stale": ()})})},
        lambda s: {"tiers": s.tiers.model_copy(update={"history": ()})},
    ]
    while without and len(status.model_dump_json(by_alias=True, exclude_none=True).encode()) > MAX_BYTES:
        status = status.model_copy(update=without.pop(0)(status))
    return status


def turned(status: Status) -> tuple[object, ...]:
    """What is written at once when it differs; the rest, circuits' details among it, may wait."""
    return (
        tuple((c.type, c.status, c.reason) for c in status.conditions),
        status.observed_generation,
        status.tiers.phase,
        status.tiers.active_hash,
        status.tiers.pods.acked,
        tuple((c.name, c.desired, c.current, c.ready, c.draining, c.in_panic) for c in status.components),
        status.budget.state if status.budget else "",
    )


# ------------------------------------------------------------------------------------------------------- components


def _component(facts: Facts, spec: ScalableApiSpec | None, name: str, history: History) -> ComponentStatus:
    wanted = spec.component(name) if spec else None
    workload, decision = facts.fleet.get(name), facts.decisions.get(name)
    mode = (wanted.mode or spec.mode) if wanted and spec else "Auto"
    if workload is None or decision is None:
        return ComponentStatus(name=name, mode=mode, target="-")
    record = decision.record
    _note(facts, name, record, history)
    pods = [pod for pod in workload.pods if not pod.deleting]
    changes = history.changes.get(name, ())
    return ComponentStatus(
        name=name,
        mode=mode,
        target=workload.target,
        desired=record.final,
        current=len(pods),
        ready=sum(pod.ready for pod in pods),
        starting=record.inputs.starting,
        draining=record.inputs.draining,
        in_panic=record.inputs.in_panic,
        recommended=record.recommended,
        min=record.inputs.minimum,
        max=record.inputs.maximum,
        last_scale_time=changes[0].time if changes else None,
        next_schedule=table.next if (table := facts.tables.get(name)) else None,
        last_decision=record_to_status(*history.last[name]) if name in history.last else None,
        decisions=changes,
    )


def _note(facts: Facts, name: str, record: autoscale.Record, history: History) -> None:
    """A record is shown when it says something new; while nothing moves, once a minute at most."""
    if record.direction != "None":
        time, metric = rfc3339(record.at_ms / 1000), leading(record)
        change = Change(time=time, from_=record.committed, to=record.final, reason=record.reason, metric=metric)
        before = history.changes.get(name, ())
        if not (before and (before[0].to, before[0].reason) == (change.to, change.reason)):
            history.changes[name] = (change, *before)[:MAX_DECISIONS]
    last = history.last.get(name)
    if last and _gist(last[0]) == _gist(record):
        return
    if record.direction != "None" or facts.now_ms - history.shown_ms.get(name, -STILL_MS) >= STILL_MS:
        history.last[name] = (record, facts.api.generation)
        history.shown_ms[name] = facts.now_ms


def _gist(record: autoscale.Record) -> tuple[object, ...]:
    return (record.final, record.direction, record.reason, tuple(step.rule for step in record.steps))


def leading(record: autoscale.Record) -> str:
    """The metric whose proposal won."""
    known = [metric for metric in record.metrics if not metric.missing]
    return max(known, key=lambda metric: metric.proposal).name if known else ""


def record_to_status(record: autoscale.Record, generation: int) -> LastDecision:
    """The core's record as it is shown and stored."""
    inputs = record.inputs
    return LastDecision(
        time=rfc3339(record.at_ms / 1000),
        generation=generation,
        from_=record.committed,
        raw=record.raw,
        final=record.final,
        recommended=record.recommended,
        direction=record.direction,
        reason=record.reason,
        not_before=rfc3339(record.not_before_ms / 1000) if record.not_before_ms else None,
        inputs=DecisionInputs(
            mode=inputs.mode,
            paused=inputs.paused,
            ready=inputs.ready,
            starting=inputs.starting,
            pending=inputs.pending,
            draining=inputs.draining,
            min=inputs.minimum,
            max=inputs.maximum,
            tolerance_down=inputs.tolerance_down,
            tolerance_up=inputs.tolerance_up,
            up_limit=inputs.up_limit,
            down_limit=inputs.down_limit,
            held_up=inputs.held_up,
            held_down=inputs.held_down,
            latch=inputs.latch,
            panic_floor=inputs.panic_floor,
            in_panic=inputs.in_panic,
            settling=inputs.settling,
            stuck=inputs.stuck,
            rollout=inputs.rollout,
            conflicted=inputs.conflicted,
            ratio_held=inputs.ratio_held,
            fallback_replicas=inputs.fallback_replicas,
            manual_replicas=inputs.manual_replicas,
            scheduled=inputs.scheduled,
            budget_cap=inputs.budget_cap,
        ),
        metrics=tuple(
            DecisionMetric(
                name=metric.name,
                kind=metric.kind,
                stable=milli_text(metric.stable),
                high=milli_text(metric.high),
                panic=milli_text(metric.panic),
                recent=milli_text(metric.recent),
                target=milli_text(metric.target),
                coverage=f"{metric.fresh}/{metric.ready}",
                missing=metric.missing,
                proposal=metric.proposal,
            )
            for metric in record.metrics
        ),
        steps=tuple(DecisionStep(rule=step.rule, before=step.before, after=step.after) for step in record.steps),
    )


# -------------------------------------------------------------------------------------------------- tiers, circuits


def _tiers(facts: Facts) -> TiersStatus:
    record, spec = facts.record, facts.api.spec
    limit = spec.tiers.rotation.history_limit if spec else 0
    return TiersStatus(
        phase=record.phase,
        active_revision=record.active.revision if record.active else 0,
        active_hash=record.active.hash if record.active else "",
        previous_revision=record.history[0][0].revision if record.history else 0,
        applied_at=rfc3339(record.since_ms / 1000) if record.active else None,
        failed_hash=record.failed_hash,
        message=facts.tiers_message[:256],
        pods=TierPods(total=facts.live, acked=facts.acked, stale=tuple(facts.stale)[:10]),
        pending=_pending(facts),
        canary=facts.canary,
        shadow=facts.shadow,
        history=tuple(entry for entry, _ in record.history[:limit]),
    )


def _pending(facts: Facts) -> PendingTiers | None:
    record, spec = facts.record, facts.api.spec
    if record.phase not in {"Scheduled", "Paused"} or record.candidate is None:
        return None
    at = spec.tiers.rotation.at if spec and record.phase == "Scheduled" else None
    return PendingTiers(revision=record.candidate.revision, hash=record.candidate.hash, at=at)


def _circuits(found: circuits.Aggregate) -> Circuits:
    return Circuits(
        open=found.open,
        half_open=found.half_open,
        total=found.total,
        observed_pods=f"{found.observed}/{found.pods}",
        items=tuple(
            Circuit(
                name=item.name,
                component=item.component,
                state=item.state,
                pods=f"{item.not_closed}/{item.known_by}",
                since=item.since,
                reason=item.reason[:64],
                retry_at=item.retry_at,
            )
            for item in found.items
        ),
    )


def _summary(facts: Facts, components: Sequence[ComponentStatus]) -> Summary:
    cells = {c.name: cell(c) for c in components}
    spec, record = facts.api.spec, facts.record
    paused = [] if spec is None else [n for n, on in pauses(spec) if on]
    revision = f"r{record.active.revision}" if record.active else "-"
    if record.phase in {"RollingOut", "RollingBack"} and record.history:
        revision = f"r{record.history[0][0].revision}→{revision}"
    elif record.phase == "Canary" and record.candidate:
        revision += f"→r{record.candidate.revision}"
    found = facts.circuits
    opened = f"{found.open} open" if found.open else f"{found.half_open} half-open" if found.half_open else "closed"
    return Summary(
        gateway=cells.get("gateway", "-"),
        balancer=cells.get("balancer", "-"),
        api=cells.get("api", "-"),
        tiers=f"{revision} {facts.acked}/{facts.live}",
        circuits="unknown" if found.blind else opened,
        budget=facts.purse.cell if facts.purse else "-",
        paused=",".join(paused) or "-",
    )


def _timed(facts: Facts, found: Sequence[Finding], before: Shown) -> tuple[Condition, ...]:
    timed, now = [], rfc3339(facts.now_ms / 1000)
    since = {(kind, truth): at for kind, truth, at in before.conditions}
    for kind, truth, reason, message in found:
        timed.append(
            Condition(
                type=kind,
                status=truth,
                reason=reason,
                message=message[:256],
                observed_generation=facts.api.generation,
                last_transition_time=since.get((kind, truth), now),
            )
        )
    return tuple(sorted(timed, key=lambda condition: condition.type))
