"""`scalable-api explain scaling [COMPONENT]`: the last decision, recomputed from its own record, a sentence a step.

The record holds all inputs (operator.md §5.8), so the steps of core.autoscale run again on it alone: the spec may have
changed since. A result that differs from what was decided is a bug: exit 1.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from services.cli.errors import DONE, FAILED, NOT_FOUND, CliError
from services.cli.output import ANSI_BOLD, ANSI_GREEN, ANSI_RED, Format, clean, emit, paint, say, table
from services.cli.targets.target import Target, the_one
from services.core import autoscale
from services.core.autoscale import Record
from services.schema.scalable_api import target_milli
from services.schema.status import ComponentStatus, DecisionMetric, LastDecision, StoredObject


def run(target: Target, form: Format, component: str | None, *, name: str | None = None, live: bool = False) -> int:
    """`live`: the controller's windows of this second instead of the decision that status shows."""
    found = the_one(target, name)
    chosen = pick(_of_this_second(target, found) if live else found, component)
    results = [(c, autoscale.replay(record_of(c.last_decision))) for c in chosen if c.last_decision is not None]
    if form in (Format.json, Format.yaml):
        emit(form, "ScalingExplanation", {"components": [member(c, r) for c, r in results]})
    else:
        blocks = [lines(c, r) for c, r in results]
        say(*(line for number, block in enumerate(blocks) for line in ([""] if number else []) + block))
    return DONE if all(agrees(c, r) for c, r in results) else FAILED


def _of_this_second(target: Target, found: StoredObject) -> StoredObject:
    decided = target.live_decisions(found)
    components = tuple(
        c.model_copy(update={"last_decision": decided[c.name]}) if c.name in decided else c
        for c in found.status.components
    )
    return found.model_copy(update={"status": found.status.model_copy(update={"components": components})})


def pick(found: StoredObject, component: str | None) -> list[ComponentStatus]:
    """The one asked for, or all; those without a decision yet are no answer."""
    names = [c.name for c in found.status.components]
    if component is not None and component not in names:
        raise CliError(
            "", f"no component {clean(component)}", f"there are {', '.join(names) or 'none'}", exit_code=NOT_FOUND
        )
    chosen = [c for c in found.status.components if component in (None, c.name)]
    decided = [c for c in chosen if c.last_decision is not None]
    if not decided:
        raise CliError(
            "", "nothing was decided yet", "the first decision comes with the first second of load", "try again"
        )
    return decided


def record_of(decision: LastDecision) -> Record:
    """The core's record of what is stored; times are not needed to recompute."""
    i = decision.inputs
    inputs = autoscale.Inputs(
        **{
            f.name: getattr(i, f.name) for f in fields(autoscale.Inputs) if f.name not in ("minimum", "maximum", "mode")
        },
        mode=i.mode,  # type: ignore[arg-type]  # replay takes any word; Auto, Recommend, Manual change the number
        minimum=i.min,
        maximum=i.max,
    )
    return Record(0, decision.from_, inputs, tuple(_metric(m) for m in decision.metrics))


def _metric(m: DecisionMetric) -> autoscale.MetricRecord:
    stable, high, panic, recent, target = (target_milli(t) for t in (m.stable, m.high, m.panic, m.recent, m.target))
    fresh, _, ready = m.coverage.partition("/")
    return autoscale.MetricRecord(
        m.name, m.kind, stable, high, panic, recent, target, int(fresh), int(ready), missing=m.missing
    )


def agrees(component: ComponentStatus, recomputed: Record) -> bool:
    decision = component.last_decision
    return decision is not None and (decision.final, decision.raw) == (recomputed.final, recomputed.raw)


def lines(component: ComponentStatus, recomputed: Record) -> list[str]:
    decision = component.last_decision
    if decision is None:
        return []
    i = decision.inputs
    move = f"{decision.from_} → {decision.final}" if decision.from_ != decision.final else f"stays at {decision.final}"
    name, when = paint(component.name, ANSI_BOLD), f"at {clean(decision.time)}"
    head = f"{name}  {move}  {clean(decision.reason)}  {when}  mode {i.mode}"
    pods = f"  {i.ready} ready, {i.starting} starting, {i.pending} pending, {i.draining} draining"
    pods += f"; {i.min} to {i.max} allowed"
    shown = [head, pods, *_metrics(decision), *_steps(decision, recomputed)]
    if decision.not_before:
        shown.append(f"  a decrease: not before {clean(decision.not_before)}")
    same = agrees(component, recomputed)
    verdict = paint("as decided", ANSI_GREEN) if same else paint(f"decided was {decision.final}: a bug", ANSI_RED)
    return [*shown, f"  recomputed: {recomputed.final} ({verdict})"]


def _metrics(decision: LastDecision) -> list[str]:
    heads = ["METRIC", "STABLE", "PANIC", "RECENT", "TARGET EACH", "COVERAGE", "ASKS FOR"]
    rows = [
        [m.name, m.stable, m.panic, m.recent, m.target, m.coverage, "nothing (missing)" if m.missing else m.proposal]
        for m in decision.metrics
    ]
    return [f"  {line}" for line in table(heads, rows)] if rows else []


def _steps(decision: LastDecision, recomputed: Record) -> list[str]:
    """Only rules that changed the number."""
    if not recomputed.steps:
        return [f"  no rule changes {decision.from_}"]
    return [f"  {s.rule:<14}{s.before} → {s.after}  {_sentence(decision, s)}" for s in recomputed.steps]


FIXED: Final = {
    "Fallback": "no metric can be read: the fallback's replicas",
    "Settling": "the watch is too young to lower anything",
    "Starts": "replicas are slow to start: no more on top of them",
    "Rollout": "a rollout is under way: no decrease",
    "Bounds": "{i.min} to {i.max} are allowed",
    "Budget": "the budget allows {i.budget_cap} at most now",
    "Pause": "paused: {i.paused}",
    "Mode": "mode {i.mode}",
}


def _sentence(decision: LastDecision, step: autoscale.Step) -> str:
    if step.rule == "Metrics":
        return _asking(decision)
    if step.rule == "Stabilization":
        return _stabilized(decision, step)
    if step.rule == "Policies":
        return _limited(decision, step)
    return FIXED.get(step.rule, "").format(i=decision.inputs)


def _asking(decision: LastDecision) -> str:
    """The metric that asks for most, with the window that counts."""
    known = [m for m in decision.metrics if not m.missing]
    if not known:
        return "kept by the panic floor"
    leading = max(known, key=lambda m: m.proposal)
    window, value = ("panic", leading.panic) if decision.inputs.in_panic else ("stable", leading.stable)
    return f"{leading.name}: {value} in the {window} window, {leading.target} each, asks for {leading.proposal}"


def _stabilized(decision: LastDecision, step: autoscale.Step) -> str:
    if step.after > step.before:
        return f"within the window up to {decision.inputs.held_down} were needed: no decrease below that"
    return f"within the window as few as {decision.inputs.held_up} sufficed: no increase above that"


def _limited(decision: LastDecision, step: autoscale.Step) -> str:
    if step.after < step.before:
        return f"policies allow {decision.inputs.up_limit} at most now"
    return f"policies allow {max(decision.inputs.down_limit, decision.inputs.latch)} at least now"


def member(component: ComponentStatus, recomputed: Record) -> dict[str, Any]:
    """For -o json: the record and the recomputation."""
    decision = component.last_decision
    stored = decision.model_dump(mode="json", by_alias=True, exclude_none=True) if decision else {}
    steps = [{"rule": s.rule, "before": s.before, "after": s.after} for s in recomputed.steps]
    again = {"final": recomputed.final, "raw": recomputed.raw, "reason": recomputed.reason, "steps": steps}
    return {"name": component.name, "decision": stored, "recomputed": again, "agrees": agrees(component, recomputed)}
