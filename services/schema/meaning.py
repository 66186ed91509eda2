"""What a manifest's types and rules cannot see (operator.md §1): a cron field outside its range, a time zone nobody
knows, tiers that make no document (policy names that are not unique, a cost above a quota, `log` or `calendar` out of
their bounds).

Callers: `schema.scalable_api` for a text (E106, with its line), the controller for a spec that an API server accepted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from services.core import schedule
from services.schema.component import Component
from services.schema.faults import Fault, nearest_name

if TYPE_CHECKING:
    from services.schema.documents import Path


@lru_cache(maxsize=1024)
def cron(text: str) -> schedule.Cron:
    """The five fields; raises ValueError with a sentence that names the wrong one."""
    return schedule.parse(text)


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The time zone; raises ValueError with the nearest name."""
    with contextlib.suppress(OSError, ValueError, KeyError):  # not found is a KeyError; a folder's name an OSError
        return ZoneInfo(name)
    near = nearest_name(name, available_timezones())
    raise ValueError(f"no time zone is named {name!r}" + (f"; did you mean {near!r}?" if near else ""))


def schedule_faults(components: tuple[Component, ...]) -> Iterator[Fault]:
    """Entries whose cron or time zone cannot be read."""
    for position, component in enumerate(components):
        for index, entry in enumerate(component.schedule):
            where: Path = ("spec", "components", position, "schedule", index)
            for field, read, text in (("cron", cron, entry.cron), ("timeZone", zone, entry.time_zone)):
                try:
                    read(text)
                except ValueError as error:
                    yield Fault((*where, field), str(error))
