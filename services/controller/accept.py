"""ACCEPT: a spec that types and rules let through is looked at once more; what cannot be meant keeps the last one.

An API server sees types and CEL, not a calendar nor which metrics servers this controller knows. The last accepted spec
stays in force; after a restart with none known, all is held as it is. Caller: controller.visit, first thing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.controller.backend import Api
from services.controller.prometheus import unknown_servers
from services.schema.scalable_api import ScalableApiSpec, meaning_faults


@dataclass(slots=True)
class Checked:
    """The spec that was looked at last, what was wrong with it, and the last one that could be accepted."""

    looked: ScalableApiSpec | None = None
    faults: tuple[str, ...] = ()
    accepted: ScalableApiSpec | None = None


def accepted(api: Api, checked: Checked, servers: frozenset[str] = frozenset()) -> Api:
    """The object with the spec to act on, and the reasons why it is not the newest."""
    if api.spec is None:
        return api
    if api.spec is not checked.looked:
        faults = [*map(str, meaning_faults(api.spec)), *unknown_servers(api.spec, servers)]
        checked.looked, checked.faults = api.spec, tuple(faults)
        if not checked.faults:
            checked.accepted = api.spec
    if not checked.faults:
        return api
    return replace(api, spec=checked.accepted, errors=(*checked.faults, *api.errors))
