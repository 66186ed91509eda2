"""A budget: its line in the record, what it cuts, what status and Events say."""

from __future__ import annotations

from typing import Any

from services.controller.backend import Record
from services.controller.budgets import purse
from services.core.budget import HOUR_MS, Line, period
from services.schema.scalable_api import ScalableApiSpec
from tests.unit.controller.scene import START_MS, Stage, api, spec

BEGIN_MS, END_MS = period(START_MS, "Day")


def allowed(hours: int, **members: Any) -> ScalableApiSpec:
    return spec(budget={"maxReplicaHours": hours, **members})


def spent(stage: Stage, hours: float) -> None:
    """As if that much had been used today."""
    assert stage.backend.record is not None
    line = Line(BEGIN_MS, stage.now_ms, round(hours * HOUR_MS), 4)
    stage.backend.record = Record(**{f: getattr(stage.backend.record, f) for f in Record.__slots__} | {"budget": line})
    stage.restart()


async def test_the_line_is_written_when_the_fleet_changes_and_only_then():
    """Weighted replicas are its slope; a constant fleet writes nothing more."""
    stage = Stage()
    stage.change(spec=allowed(500, weights={"api": 3}))
    await stage.seconds(10)
    record = stage.backend.record
    assert record is not None
    assert record.budget is not None
    assert (record.budget.start_ms, record.budget.rate) == (BEGIN_MS, 1 + 1 + 3 * 2)
    before = (len(stage.backend.writes), len(stage.backend.published))
    await stage.seconds(20)
    assert (len(stage.backend.writes), len(stage.backend.published)) == before
    stage.change(spec=allowed(500, weights={"api": 3}), generation=stage.api.generation)
    stage.ports.says["api"] = {"rps": 120.0}
    await stage.seconds(5)
    assert stage.backend.record is not None
    assert stage.backend.record.budget is not None
    line, count = stage.backend.record.budget, stage.count("api")
    assert (line.rate, count > 2) == (2 + 3 * count, True)
    assert stage.status.budget is not None
    assert (stage.status.budget.per_hour, stage.status.summary.budget) == (line.rate, "0/500")


async def test_a_line_ends_with_its_budget():
    """Removed from the spec: out of the record and out of status."""
    stage = Stage()
    stage.change(spec=allowed(500))
    await stage.seconds(2)
    stage.change(spec=spec())
    await stage.seconds(2)
    assert stage.backend.record is not None
    assert stage.backend.record.budget is None
    assert (stage.status.budget, stage.status.summary.budget) == (None, "-")


async def test_an_exceeded_budget_cuts_increases_and_says_so():
    """CapScaleUp: nothing is lowered, nothing is added; BudgetCapped in the decision, the condition, an Event."""
    stage = Stage()
    stage.change(spec=allowed(10, onExceeded="CapScaleUp"))
    await stage.seconds(10)
    spent(stage, 11)
    stage.ports.says["api"] = {"rps": 240.0}
    await stage.seconds(5)
    assert stage.count("api") == 2
    assert stage.status.budget is not None
    assert (stage.status.budget.state, stage.status.summary.budget) == ("Capped", "11/10")
    assert stage.condition("ScalingLimited").reason == "BudgetCapped"
    assert [r for r in stage.reasons() if r.startswith("Budget")] == ["BudgetWarning", "BudgetCapped"]


async def test_report_only_reports():
    """From 80 percent on a warning, once; the fleet grows all the same."""
    stage = Stage()
    stage.change(spec=allowed(10))
    await stage.seconds(10)
    spent(stage, 8.5)
    stage.ports.says["api"] = {"rps": 240.0}
    await stage.seconds(5)
    assert stage.count("api") > 2
    assert stage.status.budget is not None
    assert stage.status.budget.state == "Warning"
    assert [r for r in stage.reasons() if r.startswith("Budget")] == ["BudgetWarning"]


async def test_the_path_is_served_in_order():
    """What the gateway takes is not there for the api; a component without weight is never cut."""
    stage = Stage()
    found = allowed(24, onExceeded="CapScaleUp", weights={"balancer": 0})
    line = Line(BEGIN_MS, END_MS - HOUR_MS, 18 * HOUR_MS, 0)
    fleet = stage.backend.fleet(stage.api)
    spending = purse(END_MS - HOUR_MS, found, fleet, line)
    assert spending is not None
    assert spending.cap("gateway", {}) == 6 - 2
    assert spending.cap("balancer", {}) is None
    assert spending.cap("api", {}) == 6 - 1


async def test_where_nothing_may_be_written_the_line_goes_on_in_memory():
    """reconcile: disabled: the budget is shown, nothing is stored, and at rest no status is written."""
    stage = Stage(api(annotations={"scalableapi.io/reconcile": "disabled"}, spec=allowed(500)))
    await stage.seconds(10)
    before = len(stage.backend.published)
    assert stage.status.budget is not None
    await stage.seconds(20)
    assert (len(stage.backend.published), stage.backend.writes) == (before, [])


async def test_another_period_begins_anew():
    """At midnight UTC the line starts from nothing and a warning may come again."""
    stage = Stage()
    stage.change(spec=allowed(10))
    await stage.seconds(2)
    spent(stage, 9)
    await stage.seconds(2)
    stage.now_ms = END_MS
    await stage.seconds(2)
    assert stage.backend.record is not None
    assert stage.backend.record.budget is not None
    assert stage.backend.record.budget.start_ms == END_MS
    assert stage.status.budget is not None
    assert stage.status.budget.state == "Ok"
