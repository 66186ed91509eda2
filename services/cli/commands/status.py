"""`scalable-api status` (one screen) and `get` (one row): the object the controller wrote, as a cluster would show
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.cli.commands.edit import REASON
from services.cli.commands.waiting import not_ready, ready, wait
from services.cli.errors import DONE, FAILED
from services.cli.output import (
    ANSI_BOLD,
    ANSI_GREEN,
    ANSI_RED,
    ANSI_YELLOW,
    Format,
    clean,
    clock,
    emit,
    paint,
    say,
    since,
    table,
    tell,
)
from services.cli.targets.target import Target, the_one
from services.schema.status import ComponentStatus, Condition, LastDecision, Status, StoredObject

TROUBLES = ("Degraded", "Paused", "Progressing", "ScalingLimited", "Stalled")
RECENT = 3  # decisions on the one screen; -v shows all that are kept


def run_status(target: Target, form: Format, name: str | None, *, verbose: bool, within_s: float | None) -> int:
    """Exit 0 when Ready, 1 when not; with `within_s` it is waited for first, 6 when that ran out."""
    found = the_one(target, name)
    code = DONE
    if within_s is not None:
        code = wait(target, found.metadata.name, "Ready", not_ready, within_s)
        found = target.object(found.metadata.name)
    show(target, found, form, verbose=verbose)
    return code or (DONE if ready(found).status == "True" else FAILED)


def run_get(target: Target, form: Format, name: str | None, *, watch: bool) -> int:
    """One object, or all of the namespace."""
    if watch:
        _follow(target, name, form)
        return DONE
    found = target.objects() if name is None else [target.object(name)]
    if not found:
        tell("no ScalableApi found")
    else:
        show_rows(found, form)
    return DONE


def _follow(target: Target, name: str | None, form: Format) -> None:
    heads, seen = True, dict[str, Status]()
    for found in target.watch(name):
        if seen.get(found.metadata.name) != found.status:
            seen[found.metadata.name] = found.status
            show_rows([found], form, heads=heads)
            heads = False


def show_rows(found: Sequence[StoredObject], form: Format, *, heads: bool = True) -> None:
    if form is Format.name:
        say(*(f"scalableapi.scalableapi.io/{clean(o.metadata.name)}" for o in found))
        return
    if form in (Format.json, Format.yaml):
        bodies = [o.model_dump(mode="json", by_alias=True, exclude_none=True) for o in found]
        if len(bodies) == 1:
            emit(form, "ScalableApi", bodies[0])
        else:
            emit(form, "ScalableApiList", {"items": bodies})
        return
    names = ["NAME", "READY", "MODE", "REASON", "GATEWAY", "BALANCER", "API", "TIERS", "CIRCUITS", "AGE"]
    names += ["WORKER", "PAUSED", "LAST-SCALE", "BUDGET", "MESSAGE"] if form is Format.wide else []
    lines = table(names, [row_of(o, wide=form is Format.wide) for o in found])
    say(*(lines if heads else lines[1:]))


def row_of(found: StoredObject, *, wide: bool) -> list[object]:
    """The printer columns of the resource."""
    summary, condition = found.status.summary, ready(found)
    mode = found.spec.mode if found.spec else "-"
    row: list[object] = [found.metadata.name, condition.status, mode, condition.reason]
    row += [summary.gateway, summary.balancer, summary.api, summary.tiers, summary.circuits]
    row += [since(found.metadata.creation_timestamp)]
    if wide:
        scaled = since(found.status.last_scale_time)
        row += [summary.worker, summary.paused, scaled, summary.budget, condition.message]
    return row


def show(target: Target, found: StoredObject, form: Format, *, verbose: bool) -> None:
    if form in (Format.json, Format.yaml):
        emit(form, "StatusReport", report_of(target, found))
    elif form is Format.name:
        show_rows([found], form)
    else:
        say(*screen(target.place(found), found, verbose=verbose or form is Format.wide))


def report_of(target: Target, found: StoredObject) -> dict[str, Any]:
    body = found.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"name": found.metadata.name, **target.about(found), "status": body["status"]}


def screen(place: str, found: StoredObject, *, verbose: bool) -> list[str]:
    """The one screen, top to bottom: is it ready, what runs, what limits, what is broken, what was decided."""
    condition, status = ready(found), found.status
    colour = {"True": ANSI_GREEN, "False": ANSI_RED}.get(condition.status, ANSI_YELLOW)
    word = {"True": "Ready", "False": "Not ready"}.get(condition.status, "Unknown")
    mode = found.spec.mode if found.spec else "-"
    name, age = paint(clean(found.metadata.name), ANSI_BOLD), since(found.metadata.creation_timestamp)
    reason = clean(condition.reason)
    lines = [f"{name}  {paint(word, colour)}  {reason}  mode {mode}  age {age}  {clean(place)}"]
    if condition.message:
        lines.append(f"  {clean(condition.message)}")
    if why := found.metadata.annotations.get(REASON):
        lines.append(f"  paused: {clean(why)}")
    lines += ["", *_components(status), "", *_tiers(status), *_circuits(status)]
    return [*lines, *_conditions(status, verbose=verbose), *_decisions(status, verbose=verbose)]


def _components(status: Status) -> list[str]:
    heads = ["COMPONENT", "MODE", "READY", "DESIRED", "RANGE", "LAST DECISION"]
    rows = [
        [c.name, c.mode, f"{c.ready}/{c.current}", c.desired, f"{c.min}-{c.max}", headline(c)]
        for c in status.components
    ]
    return table(heads, rows)


def headline(component: ComponentStatus) -> str:
    """`4 → 16 Panic, in-flight 149 of 20: at 10:00:02`, or why it stays."""
    decision = component.last_decision
    if decision is None:
        return "-"
    move = f"{decision.from_} → {decision.final}" if decision.final != decision.from_ else f"stays {decision.final}"
    more = f" ({component.draining} draining)" if component.draining else ""
    return f"{move} {decision.reason}{_measured(decision)} at {clock(decision.time)}{more}"


def _measured(decision: LastDecision) -> str:
    """The metric that asks for most."""
    if not decision.metrics:
        return ""
    leading = max(decision.metrics, key=lambda m: m.proposal)
    value = leading.panic if decision.inputs.in_panic else leading.stable
    return f", {leading.name} {value} at {leading.target} each"


def _tiers(status: Status) -> list[str]:
    tiers = status.tiers
    acked = f"{tiers.pods.acked}/{tiers.pods.total} processes enforce it"
    lines = [
        f"Tiers     revision {tiers.active_revision}  {clean(tiers.phase)}  {acked}  {clean(tiers.active_hash)[:19]}"
    ]
    if tiers.pods.stale:
        lines.append(f"          not yet: {clean(', '.join(tiers.pods.stale))}")
    if tiers.message:
        lines.append(f"          {clean(tiers.message)}")
    return lines


def _circuits(status: Status) -> list[str]:
    circuits = status.circuits
    seen = f"{circuits.total} breakers in {circuits.observed_pods} processes"
    lines = [f"Circuits  {clean(status.summary.circuits)}  {seen}"]
    for item in circuits.items:
        retry = f", retry at {clock(item.retry_at)}" if item.retry_at else ""
        state = paint(item.state, ANSI_RED if item.state == "Open" else ANSI_YELLOW)
        where = clean(f"{item.name} in {item.pods} {item.component}")
        lines.append(f"          {state} {where} since {clock(item.since)}: {clean(item.reason)}{retry}")
    return lines


def _conditions(status: Status, *, verbose: bool) -> list[str]:
    """Those that need a look; all with -v."""
    shown = [c for c in status.conditions if verbose or (c.type != "Ready" and _odd(c))]
    if not shown:
        return []
    rows = [[c.type, c.status, c.reason, since(c.last_transition_time), c.message] for c in shown]
    return ["", *table(["CONDITION", "STATUS", "REASON", "AGE", "MESSAGE"], rows)]


def _odd(condition: Condition) -> bool:
    """Conditions whose good value is False are the ones named after a trouble."""
    return condition.status != ("False" if condition.type in TROUBLES else "True")


def _decisions(status: Status, *, verbose: bool) -> list[str]:
    changes = [
        (change.time, component.name, change) for component in status.components for change in component.decisions
    ]
    changes.sort(key=lambda c: c[0], reverse=True)
    if not changes:
        return []
    kept = changes if verbose else changes[:RECENT]
    rows = [[clock(at), name, f"{c.from_} → {c.to}", c.reason, c.metric or "-"] for at, name, c in kept]
    return ["", *table(["DECIDED", "COMPONENT", "CHANGE", "REASON", "METRIC"], rows)]
