"""Bounds that change with the clock: in decisions, in status, as Events; and a schedule that cannot be read."""

from __future__ import annotations

from typing import Any

from services.controller.timetable import entries_of, timetable
from services.runtime.vitals import rfc3339
from services.schema.scalable_api import ScalableApiSpec
from tests.unit.controller.scene import START_MS, Stage, spec

MINUTE_MS = 60_000
BEGIN_MS = START_MS - START_MS % MINUTE_MS + MINUTE_MS


def entry(minute: int, **members: Any) -> dict[str, Any]:
    """An entry that begins every hour at that minute, for one minute."""
    return {"name": f"at-{minute}", "cron": f"{minute} * * * *", "duration": "1m", **members}


def soon(**members: Any) -> ScalableApiSpec:
    """An entry that begins at the next full minute."""
    return spec(api={"schedule": [entry(BEGIN_MS // MINUTE_MS % 60, **members)]})


async def test_a_floor_begins_and_ends():
    """At its minute the count rises at once with reason ScheduleFloor; both edges are told and shown before."""
    stage = Stage()
    stage.change(spec=soon(min=5))
    status = await stage.seconds(1)
    shown = next(c for c in status.components if c.name == "api")
    assert (shown.min, shown.max, stage.count("api")) == (2, 8, 2)
    assert shown.next_schedule is not None
    assert (shown.next_schedule.at, shown.next_schedule.min) == (rfc3339(BEGIN_MS / 1000), 5)
    stage.now_ms = BEGIN_MS - 500
    status = await stage.seconds(1)
    shown = next(c for c in status.components if c.name == "api")
    assert (stage.count("api"), shown.min, shown.last_decision and shown.last_decision.reason) == (
        5,
        5,
        "ScheduleFloor",
    )
    assert shown.next_schedule is not None
    assert shown.next_schedule.at == rfc3339((BEGIN_MS + MINUTE_MS) / 1000)
    stage.now_ms = BEGIN_MS + MINUTE_MS
    await stage.seconds(1)
    assert [r for r in stage.reasons() if r.startswith("Schedule")] == ["ScheduleStarted", "ScheduleEnded"]


async def test_a_cap_below_what_runs_lowers():
    """ScheduleCap, once the watch is old enough to lower anything."""
    stage = Stage(api=4)
    stage.ports.says["api"] = {"rps": 60.0}
    stage.now_ms = BEGIN_MS - 10_000
    stage.change(spec=soon(max=3))
    reasons = set()
    for _ in range(15):
        await stage.seconds(1)
        reasons |= {c.last_decision.reason for c in stage.status.components if c.last_decision}
    assert "ScheduleCap" in reasons
    assert stage.condition("ScalingLimited").reason in {"TooManyReplicas", "Draining"}


async def test_a_schedule_that_cannot_be_read_keeps_the_last_spec():
    """An API server accepts the shape; here the field is named, Accepted=False/Invalid, and decisions go on as before."""
    stage = Stage()
    await stage.seconds(1)
    stage.change(spec=spec(api={"minReplicas": 4, "schedule": [entry(7, min=5, timeZone="Europe/Warsow")]}))
    await stage.seconds(1)
    accepted = stage.condition("Accepted")
    assert (accepted.status, accepted.reason) == ("False", "Invalid")
    assert "spec.components[2].schedule[0].timeZone: no time zone is named 'Europe/Warsow'" in accepted.message
    assert (stage.count("api"), stage.reasons().count("ConfigRejected")) == (2, 1)
    stage.change(spec=spec(api={"minReplicas": 4}))
    await stage.seconds(1)
    assert (stage.condition("Accepted").status, stage.count("api")) == ("True", 4)


async def test_after_a_restart_with_none_accepted_all_is_held():
    """Nothing is known to go back to: nothing is scaled."""
    stage = Stage()
    stage.change(spec=spec(api={"minReplicas": 4, "schedule": [entry(7, min=5, cron="99 * * * *")]}))
    await stage.seconds(2)
    assert (stage.count("api"), stage.condition("Accepted").reason) == (2, "Invalid")


def test_the_table_stands_until_its_edge():
    """Between two edges nothing is computed anew; another entry, or other bounds of the component, are seen at once."""
    component = soon(min=5).component("api")
    assert component is not None
    table = timetable(START_MS, component)
    assert timetable(BEGIN_MS - 1, component, table) is table
    later = timetable(BEGIN_MS, component, table)
    assert (later.bounds.minimum, later.scheduled, later.active) == (
        5,
        "floor",
        frozenset({entries_of(component)[0].name}),
    )
    other = component.model_copy(update={"max_replicas": 20})
    assert timetable(START_MS, other, table).bounds.maximum == 20


def test_without_a_schedule_the_components_own_bounds_hold():
    """No edge is ahead."""
    component = spec().component("api")
    assert component is not None
    table = timetable(START_MS, component)
    assert (table.bounds.minimum, table.bounds.maximum, table.scheduled, table.next) == (2, 8, "", None)
