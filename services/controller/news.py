"""What is worth an Event: the difference between what was and what is, told once when it begins (operator.md §4).

Pure but for `Told`, which keeps what was said. Caller: controller.visit; controller.events holds back floods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.controller.backend import Api, Event
from services.controller.budgets import ToldBudget
from services.core import circuits
from services.core.autoscale import Decision
from services.schema.scalable_api import Paused


@dataclass(slots=True)
class Told:
    """What the last visit saw."""

    errors: tuple[str, ...] = ()
    paused: Paused | None = None
    stale: frozenset[str] = frozenset()
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
    return news


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
        if any(step.rule == "Starts" for step in decision.record.steps):
            message = f"{name}: replicas are slow to start; no more are added on top of them"
            yield Event("Warning", "StartsStuck", message, name)


def stale_events(stale: Sequence[str], told: Told) -> list[Event]:
    """Each pod once, when it becomes stale."""
    late, told.stale = sorted(frozenset(stale) - told.stale), frozenset(stale)
    return [Event("Warning", "PodsStale", f"{name} does not acknowledge the tiers document", name) for name in late]
