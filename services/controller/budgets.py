"""The budget of one object, now: its line in the durable record, what may still be added, what status and Events say.

The line is (used, rate) at a moment, so it is written only when the fleet or the period changes (operator.md §2, §5.5
step 9); the arithmetic is `core.budget`. What counts is what each workload was told to have, by weight.
Caller: controller.visit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.controller.backend import Event, Fleet
from services.core import budget
from services.core.autoscale import Decision
from services.core.budget import HOUR_MS, Line, State
from services.runtime.vitals import rfc3339
from services.schema.scalable_api import Budget, ScalableApiSpec
from services.schema.status import BudgetStatus

CELL_STEPS: Final = 20
"""The cell of `kubectl get` moves in twentieths of the budget: a constant fleet writes so often per period, no more."""


@dataclass(frozen=True, slots=True)
class Purse:
    """A budget at this tick: the line up to now, and how it would be spent."""

    asked: Budget
    line: Line
    end_ms: int
    now_ms: int
    replicas: Mapping[str, int]

    def cap(self, name: str, decided: Mapping[str, Decision]) -> int | None:
        """The most replicas of a component; those before it in path order have decided already."""
        if self.asked.on_exceeded == "Report":
            return None
        weights: Mapping[str, int] = self.asked.weights.model_dump()
        total = budget.affordable(self.line, self.now_ms, self.end_ms, self.asked.max_replica_hours)
        counts = {other: decided[other].final if other in decided else n for other, n in self.replicas.items()}
        others = [(weights[other], count) for other, count in counts.items() if other != name]
        return budget.cap(total, others, weights[name])

    def state(self, decisions: Mapping[str, Decision]) -> State:
        """Capped while an increase is cut."""
        cut = any(step.rule == "Budget" for d in decisions.values() for step in d.record.steps)
        return budget.state(self.line, self.now_ms, self.asked.max_replica_hours, capped=cut)

    def status(self, decisions: Mapping[str, Decision]) -> BudgetStatus:
        """The line, in hours."""
        return BudgetStatus(
            start=rfc3339(self.line.start_ms / 1000),
            end=rfc3339(self.end_ms / 1000),
            as_of=rfc3339(self.line.as_of_ms / 1000),
            used=self.line.used // HOUR_MS,
            per_hour=self.line.rate,
            projected=budget.projected(self.line, self.end_ms),
            state=self.state(decisions),
        )

    @property
    def cell(self) -> str:
        """`300/500`: at least so much is used."""
        allowed = self.asked.max_replica_hours
        used = self.line.at(self.now_ms) // HOUR_MS
        step = max(1, allowed // CELL_STEPS)
        return f"{used // step * step}/{allowed}"


def purse(now_ms: int, spec: ScalableApiSpec, fleet: Fleet, before: Line | None) -> Purse | None:
    """The budget with its line brought up to now; None without one."""
    if spec.budget is None:
        return None
    replicas = {name: workload.replicas for name, workload in fleet.items() if spec.component(name)}
    rate = budget.weighted(replicas, spec.budget.weights.model_dump())
    line = budget.advance(before, now_ms, spec.budget.per, rate)
    return Purse(spec.budget, line, budget.period(now_ms, spec.budget.per)[1], now_ms, replicas)


@dataclass(slots=True)
class ToldBudget:
    """What was said of which period."""

    start_ms: int = -1
    state: State = "Ok"
    warned: bool = False


def events(found: Purse | None, decisions: Mapping[str, Decision], told: ToldBudget) -> list[Event]:
    """BudgetWarning once a period, BudgetCapped whenever increases begin to be cut."""
    if found is None:
        return []
    if told.start_ms != found.line.start_ms:
        told.start_ms, told.warned = found.line.start_ms, False
    before, told.state = told.state, found.state(decisions)
    allowed = found.asked.max_replica_hours
    used = f"{found.line.at(found.now_ms) // HOUR_MS} of {allowed} replica-hours"
    news = []
    over = budget.state(found.line, found.now_ms, allowed, capped=False) == "Warning"
    if over and not told.warned:
        told.warned = True
        news.append(Event("Warning", "BudgetWarning", f"{used} are used; {found.line.rate} more each hour"))
    if told.state == "Capped" and before != "Capped":
        until = rfc3339(found.end_ms / 1000)
        news.append(Event("Warning", "BudgetCapped", f"{used} are used; increases are cut until {until}"))
    return news
