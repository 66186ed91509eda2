"""A component's schedule, now: the bounds in force, who set them, the next edge, and what began or ended (§5.5).

`core.schedule` has the calendar; between two edges its answer stands, so it is asked only when one passes or the
entries change. Callers: controller.decide for the bounds, the loop for Events, `up` for its first counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.controller.backend import Event
from services.core import schedule
from services.core.schedule import Bounds, Edge, Entry
from services.runtime.vitals import rfc3339
from services.schema.meaning import cron, zone
from services.schema.scalable_api import Component, duration_ms
from services.schema.status import NextSchedule

LOOK_AGAIN_MS: Final = 3_600_000
"""Without an edge in sight: an entry that always begins anew before it ends, or one whose day never comes."""
Shape = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Timetable:
    """What holds from the moment it was made until `until_ms`, for a component of this `shape`."""

    shape: Shape
    until_ms: int
    bounds: Bounds
    active: frozenset[str] = frozenset()
    edge: Edge | None = None

    @property
    def scheduled(self) -> str:
        """Which of floor, cap come from the schedule."""
        found = (("floor", self.bounds.floor_by), ("cap", self.bounds.cap_by))
        return ",".join(name for name, by in found if by)

    @property
    def next(self) -> NextSchedule | None:
        """For status."""
        edge = self.edge
        if edge is None:
            return None
        return NextSchedule(name=edge.name, at=rfc3339(edge.at_ms / 1000), min=edge.minimum, max=edge.maximum)


def timetable(now_ms: int, component: Component, before: Timetable | None = None) -> Timetable:
    """The table of now; `before` itself while it holds."""
    shape = (component.min_replicas, component.max_replicas, component.schedule)
    if before and before.shape == shape and now_ms < before.until_ms:
        return before
    entries = entries_of(component)
    own = (component.min_replicas, component.max_replicas)
    edge = schedule.next_edge(now_ms, *own, entries) if entries else None
    return Timetable(
        shape,
        edge.at_ms if edge else now_ms + LOOK_AGAIN_MS,
        schedule.bounds(now_ms, *own, entries),
        frozenset(entry.name for entry in schedule.active(now_ms, entries)),
        edge,
    )


def entries_of(component: Component) -> tuple[Entry, ...]:
    """The spec's entries as the core reads them; they are known to be readable (`schema.meaning`)."""
    return tuple(
        Entry(e.name, cron(e.cron), zone(e.time_zone), duration_ms(e.duration), e.min, e.max)
        for e in component.schedule
    )


def edges(name: str, before: Timetable | None, now: Timetable) -> list[Event]:
    """Which entries of component `name` began and ended since `before`; nothing on first sight."""
    if before is None or before is now:
        return []
    said = f"{now.bounds.minimum} to {now.bounds.maximum} replicas"
    began, ended = sorted(now.active - before.active), sorted(before.active - now.active)
    return [
        *(Event("Normal", "ScheduleEnded", f"{name}: {entry} ended, {said}", f"{name}/{entry}") for entry in ended),
        *(Event("Normal", "ScheduleStarted", f"{name}: {entry} began, {said}", f"{name}/{entry}") for entry in began),
    ]
