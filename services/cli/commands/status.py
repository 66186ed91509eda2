"""`scalable-api status` (one screen) and `get` (one row): the object the controller wrote, as a cluster would show
it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from services.cli import instance as instances
from services.cli.errors import DONE, FAILED, UNREACHABLE, WAIT_RAN_OUT, CliError
from services.cli.instance import Instance
from services.cli.output import (
    ANSI_BOLD,
    ANSI_GREEN,
    ANSI_RED,
    ANSI_YELLOW,
    Format,
    clean,
    emit,
    humane_age,
    paint,
    say,
    table,
)
from services.schema.status import ComponentStatus, Condition, LastDecision, Status, StoredObject

POLL_S = 0.2
TROUBLES = ("Degraded", "Paused", "Progressing", "ScalingLimited", "Stalled")
RECENT = 3  # decisions on the one screen; -v shows all that are kept


def load(instance: Instance) -> StoredObject:
    try:
        return StoredObject.model_validate(instance.object())
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}; written by version {instance.version}"
        raise CliError("", "the status cannot be read", clean(why), exit_code=UNREACHABLE) from None


def ready(found: StoredObject) -> Condition:
    return found.status.condition("Ready") or Condition(type="Ready", status="Unknown", reason="NotObserved")


async def wait_for(instance: Instance, done: Callable[[StoredObject], bool], within_s: float) -> StoredObject | None:
    """The first object for which `done` holds; None when the time ran out. The controller writes the file, we look."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = load(instance)
        if done(found):
            return found
        await asyncio.sleep(POLL_S)
    return None


def run_status(form: Format, *, verbose: bool, wait: bool, timeout_s: float) -> int:
    """Exit 0 when Ready, 1 when not, 6 when `--wait` ran out."""
    instance = instances.current()
    if wait:
        found = asyncio.run(wait_for(instance, lambda o: ready(o).status == "True", timeout_s))
        if found is None:
            show(instance, load(instance), form, verbose=verbose)
            return WAIT_RAN_OUT
    else:
        found = load(instance)
    show(instance, found, form, verbose=verbose)
    return DONE if ready(found).status == "True" else FAILED


def run_get(form: Format, *, watch: bool) -> int:
    instance = instances.current()
    found = load(instance)
    show_row(found, form)
    if watch:
        asyncio.run(_follow(instance, found, form))
    return DONE


async def _follow(instance: Instance, found: StoredObject, form: Format) -> None:
    while instances.alive(instance.pid):
        await asyncio.sleep(POLL_S)
        if (latest := load(instance)).status != found.status:
            found = latest
            show_row(found, form, heads=False)


def show_row(found: StoredObject, form: Format, *, heads: bool = True) -> None:
    if form is Format.name:
        say(f"scalableapi.scalableapi.io/{clean(found.metadata.name)}")
        return
    if form in (Format.json, Format.yaml):
        emit(form, "ScalableApi", found.model_dump(mode="json", by_alias=True, exclude_none=True))
        return
    summary, condition = found.status.summary, ready(found)
    names = ["NAME", "READY", "MODE", "REASON", "GATEWAY", "BALANCER", "API", "TIERS", "CIRCUITS", "AGE"]
    row: list[object] = [
        found.metadata.name,
        condition.status,
        found.spec.mode if found.spec else "-",
        condition.reason,
    ]
    row += [summary.gateway, summary.balancer, summary.api, summary.tiers, summary.circuits]
    row += [_age(found.metadata.creation_timestamp)]
    if form is Format.wide:
        names += ["PAUSED", "LAST-SCALE", "MESSAGE"]
        row += [summary.paused, found.status.last_scale_time or "-", condition.message]
    lines = table(names, [row])
    say(*(lines if heads else lines[1:]))


def show(instance: Instance, found: StoredObject, form: Format, *, verbose: bool) -> None:
    if form in (Format.json, Format.yaml):
        emit(form, "StatusReport", report_of(instance, found))
    elif form is Format.name:
        show_row(found, form)
    else:
        say(*screen(instance, found, verbose=verbose or form is Format.wide))


def report_of(instance: Instance, found: StoredObject) -> dict[str, Any]:
    body = found.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"name": found.metadata.name, "url": instance.url, "manifest": instance.manifest, "status": body["status"]}


def screen(instance: Instance, found: StoredObject, *, verbose: bool) -> list[str]:
    """The one screen, top to bottom: is it ready, what runs, what limits, what is broken, what was decided."""
    condition, status = ready(found), found.status
    colour = {"True": ANSI_GREEN, "False": ANSI_RED}.get(condition.status, ANSI_YELLOW)
    word = {"True": "Ready", "False": "Not ready"}.get(condition.status, "Unknown")
    mode = found.spec.mode if found.spec else "-"
    name, age = paint(clean(found.metadata.name), ANSI_BOLD), _age(found.metadata.creation_timestamp)
    reason = clean(condition.reason)
    lines = [f"{name}  {paint(word, colour)}  {reason}  mode {mode}  age {age}  {instance.url}"]
    if condition.message:
        lines.append(f"  {clean(condition.message)}")
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
    return f"{move} {decision.reason}{_measured(decision)} at {_clock(decision.time)}{more}"


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
        retry = f", retry at {_clock(item.retry_at)}" if item.retry_at else ""
        state = paint(item.state, ANSI_RED if item.state == "Open" else ANSI_YELLOW)
        where = clean(f"{item.name} in {item.pods} {item.component}")
        lines.append(f"          {state} {where} since {_clock(item.since)}: {clean(item.reason)}{retry}")
    return lines


def _conditions(status: Status, *, verbose: bool) -> list[str]:
    """Those that need a look; all with -v."""
    shown = [c for c in status.conditions if verbose or (c.type != "Ready" and _odd(c))]
    if not shown:
        return []
    rows = [[c.type, c.status, c.reason, _age(c.last_transition_time), c.message] for c in shown]
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
    rows = [[_clock(at), name, f"{c.from_} → {c.to}", c.reason, c.metric or "-"] for at, name, c in kept]
    return ["", *table(["DECIDED", "COMPONENT", "CHANGE", "REASON", "METRIC"], rows)]


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def _age(text: str) -> str:
    at = _parsed(text)
    return humane_age(time.time() - at.timestamp()) if at else "-"


def _clock(text: str) -> str:
    at = _parsed(text)
    return at.astimezone().strftime("%H:%M:%S") if at else "-"
