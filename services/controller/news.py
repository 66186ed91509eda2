"""What is worth an Event: the difference between what was and what is, told once when it begins (operator.md §4).

Pure but for `Told`, which keeps what was said. Caller: controller.visit; controller.events holds back floods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.controller.backend import Api, Event
from services.controller.budgets import ToldBudget
from services.controller.budgets import events as budget_events
from services.controller.facts import Facts
from services.core import circuits
from services.core.autoscale import Decision
from services.schema.scalable_api import Paused


@dataclass(slots=True)
class Told:
    """What the last visit saw. `begun`: (reason, component) of what lasted then; `replicas`: spec's, once `known`."""

    errors: tuple[str, ...] = ()
    paused: Paused | None = None
    stale: frozenset[str] = frozenset()
    begun: frozenset[tuple[str, str]] = frozenset()
    denied: frozenset[str] = frozenset()
    known: bool = False
    replicas: int | None = None
    budget: ToldBudget = field(default_factory=ToldBudget)


def object_events(api: Api, told: Told) -> list[Event]:
    """What the object itself says that it did not say before."""
    news = []
    if api.errors and api.errors != told.errors:
        news.append(Event("Warning", "ConfigRejected", api.errors[0]))
    paused = api.spec.paused if api.spec else None
    if told.paused is not None and paused is not None and paused != told.paused:
        stops = [name for name, on in paused.model_dump().items() if on]
        message = ", ".join(stops) or "nothing is paused any more"
        news.append(Event("Normal", "Paused" if stops else "Resumed", message))
    told.errors, told.paused = api.errors, paused
    return [*news, *_scale_ignored(api, told)]


def _scale_ignored(api: Api, told: Told) -> list[Event]:
    """`kubectl scale` outside mode Manual changes nothing, and says so."""
    spec = api.spec
    component = spec.component("api") if spec else None
    if spec is None or component is None:
        return []
    changed = told.known and spec.replicas != told.replicas
    told.known, told.replicas = True, spec.replicas
    mode = component.mode or spec.mode
    if not changed or mode == "Manual":
        return []
    return [Event("Normal", "ScaleIgnored", f"spec.replicas is {spec.replicas}; in mode {mode} it is not used", "api")]


def all_events(facts: Facts, told: Told) -> list[Event]:
    """What this tick's facts have that the last one's had not."""
    return [
        *circuit_events(facts.circuits),
        *decision_events(facts.decisions),
        *lasting_events(facts, told),
        *stale_events(facts.stale, told),
        *budget_events(facts.purse, facts.decisions, told.budget),
    ]


def lasting_events(facts: Facts, told: Told) -> list[Event]:
    """What goes on for a while, once when it begins; a right that is missing, once per sentence."""
    found = {(event.reason, event.subject): event for event in _lasting(facts)}
    begun = [event for key, event in found.items() if key not in told.begun]
    denied = [Event("Warning", "WriteDenied", text, text[:64]) for text in facts.denied if text not in told.denied]
    told.begun, told.denied = frozenset(found), frozenset(facts.denied)
    return [*begun, *denied]


def _lasting(facts: Facts) -> Iterable[Event]:
    if facts.api.conflict:
        yield Event("Warning", "Conflicted", facts.api.conflict)
    for name, who in facts.rivals.items():
        yield Event("Warning", "Conflicted", f"{name}: {who}; we do not", name)
    for name, decision in facts.decisions.items():
        record = decision.record
        rules = {step.rule for step in record.steps}
        if "Starts" in rules:
            message = f"{name}: replicas are slow to start; no more are added on top of them"
            yield Event("Warning", "StartsStuck", message, name)
        if "Pause" in rules:
            before = next(step.before for step in record.steps if step.rule == "Pause")
            message = f"{name} {record.committed}→{before} is held back: paused {record.inputs.paused}"
            yield Event("Warning", "ScaleSuppressed", message, name)


def circuit_events(found: circuits.Aggregate) -> list[Event]:
    """Once per key and episode."""
    return [
        *(
            Event("Warning", "CircuitOpened", f"{i.component}: {i.name} {i.reason}".strip(), f"{i.component}/{i.name}")
            for i in found.opened
        ),
        *(
            Event("Normal", "CircuitClosed", f"{i.component}: {i.name}", f"{i.component}/{i.name}")
            for i in found.closed
        ),
    ]


def decision_events(decisions: Mapping[str, Decision]) -> Iterable[Event]:
    """What a decision began or ended."""
    for name, decision in decisions.items():
        if decision.fallback_started:
            message = f"{name}: no metric can be read; {decision.record.reason} {decision.final}"
            yield Event("Warning", "FallbackActivated", message, name)
        if decision.fallback_ended:
            yield Event("Warning", "FallbackDeactivated", f"{name}: metrics are read again", name)


def stale_events(stale: Sequence[str], told: Told) -> list[Event]:
    """Each pod once, when it becomes stale."""
    late, told.stale = sorted(frozenset(stale) - told.stale), frozenset(stale)
    return [Event("Warning", "PodsStale", f"{name} does not acknowledge the tiers document", name) for name in late]
