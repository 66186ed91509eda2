"""Which Deployment is whose, who else scales it, and what of that a person has to put right (operator.md §8).

Pure, over the store. Caller: backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scalable_operator.records import ApiRecord, DeploymentRecord, Name, PodRecord
from scalable_operator.store import Store
from services.controller.backend import Key, Pod
from services.schema.scalable_api import PATH_ORDER, Component


def targets(api: ApiRecord) -> Iterator[tuple[Component, Name]]:
    """Each component that this version runs, and its Deployment's name."""
    for component in api.spec.components if api.spec else ():
        if component.name in PATH_ORDER:
            named = component.target_ref.name if component.target_ref else None
            yield component, (api.namespace, named or f"{api.name}-{component.name}")


def claims(apis: Mapping[Key, ApiRecord]) -> dict[Name, Key]:
    """Per Deployment the ScalableApi that has it: the older one, then the lower uid."""
    won: dict[Name, Key] = {}
    for api in sorted(apis.values(), key=lambda api: (api.created_at, api.uid)):
        for _, name in targets(api):
            won.setdefault(name, api.uid)
    return won


def autoscalers(store: Store, name: Name) -> tuple[str, ...]:
    """HorizontalPodAutoscalers of that Deployment, each with its owner."""
    found = [hpa for hpa in store.hpas.values() if (hpa.namespace, hpa.target) == (name[0], f"Deployment/{name[1]}")]
    return tuple(
        f"HorizontalPodAutoscaler/{hpa.name}" + (f" of {hpa.owner}" if hpa.owner else "")
        for hpa in sorted(found, key=lambda hpa: hpa.name)
    )


def pods_of(store: Store, deployment: DeploymentRecord) -> tuple[Pod, ...]:
    """Its pods, as the controller sees them. What has ended does not count as a replica."""
    found = store.selected(deployment.namespace, deployment.selector)
    return tuple(_pod(record, store) for record in found if record.phase != "Failed")


def _pod(record: PodRecord, store: Store) -> Pod:
    return Pod(
        uid=record.uid,
        name=record.name,
        phase=record.phase,
        ready=record.ready,
        starting=not record.ready and record.uid not in store.ever_ready,
        deleting=record.deleting,
        started_at_ms=record.started_at_ms,
        control_url=record.control,
        node=record.node,
        restarts=record.restarts,
        reason=record.reason,
        protected=record.protected,
    )
