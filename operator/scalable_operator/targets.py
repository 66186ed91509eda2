"""Which Deployments an object asks for (operator.md §8). Pure. Callers: store, backend."""

from __future__ import annotations

from collections.abc import Iterator

from scalable_operator.records import ApiRecord, Name
from services.schema.scalable_api import PATH_ORDER, Component


def targets(api: ApiRecord) -> Iterator[tuple[Component, Name]]:
    """Each component that this version runs, and its Deployment's name."""
    for component in api.spec.components if api.spec else ():
        if component.name in PATH_ORDER:
            named = component.target_ref.name if component.target_ref else None
            yield component, (api.namespace, named or f"{api.name}-{component.name}")
