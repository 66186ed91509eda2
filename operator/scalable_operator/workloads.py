"""A Deployment as the controller sees it: its number, who else sets that, its pods. Pure, over the store. Caller: backend."""

from __future__ import annotations

from typing import Final

from scalable_operator.records import DeploymentRecord, PodRecord
from scalable_operator.store import Store
from services.controller.backend import Pod, Workload

SCALE_MANAGER: Final = "scalableapi-operator-scale"


def workload(store: Store, deployment: DeploymentRecord) -> Workload:
    """What has ended does not count as a replica."""
    found = store.selected(deployment.namespace, deployment.selector)
    return Workload(
        replicas=deployment.replicas,
        seen=deployment.version,
        target=f"Deployment/{deployment.name}",
        updated=deployment.updated,
        rivals=_autoscalers(store, deployment),
        writer=", ".join(who for who in deployment.writers if who != SCALE_MANAGER),
        pods=tuple(_pod(record, store) for record in found if record.phase != "Failed"),
    )


def _autoscalers(store: Store, deployment: DeploymentRecord) -> tuple[str, ...]:
    """Each with its owner."""
    return tuple(
        f"HorizontalPodAutoscaler/{hpa.name}" + (f" of {hpa.owner}" if hpa.owner else "")
        for hpa in store.autoscalers((deployment.namespace, deployment.name))
    )


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
