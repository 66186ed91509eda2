"""Puts back what others changed: the tiers ConfigMap, the status, deletion costs, and replicas (operator.md §8).

The watched object is compared with what we wrote last; what differs is written again, before the next tick. Somebody
who sets replicas three times in five minutes means it: the component is Conflicted until five minutes were quiet.

Caller: backend.changed, as leader.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from scalable_operator import targets
from scalable_operator.backend import SCALE_MANAGER, KubernetesBackend
from scalable_operator.records import GOES_FIRST, ApiRecord, Name
from scalable_operator.resources import objects
from services.controller.backend import Api, Done, Event
from services.controller.conditions import DISABLED
from services.schema.scalable_api import Component

WINDOW_S: Final = 300.0
TIMES: Final = 3
FORCE: Final = "scalableapi.io/force-reconcile"


@dataclass(slots=True)
class Healing:
    """`run` before each tick."""

    backend: KubernetesBackend
    clock: Callable[[], float] = time.monotonic
    _overwritten: dict[Name, list[float]] = field(default_factory=dict)
    _forced: dict[str, str] = field(default_factory=dict)

    async def run(self) -> None:
        for api in list(self.backend.store.apis.values()):
            if api.deleting:
                continue
            self._force(api)
            await self._status(api)
            if dict(api.annotations).get(DISABLED[0]) != DISABLED[1]:
                await self._config_map(api)
                await self._replicas(api)
        await self._costs()

    def _force(self, api: ApiRecord) -> None:
        """A new value of the annotation: believe nothing of what was written."""
        value = dict(api.annotations).get(FORCE, "")
        wrote = self.backend.wrote
        if value != self._forced.setdefault(api.uid, value):
            self._forced[api.uid] = value
            if kept := wrote.statuses.get(api.uid):
                wrote.statuses[api.uid] = ("", kept[1])
            if stored := wrote.config_maps.get(api.uid):
                wrote.config_maps[api.uid] = ("", stored[1])

    async def _status(self, api: ApiRecord) -> None:
        wrote = self.backend.wrote.statuses.get(api.uid)
        if wrote and wrote[0] != api.status:
            await self.backend.apply_status(api, wrote[1])

    async def _config_map(self, api: ApiRecord) -> None:
        wrote = self.backend.wrote.config_maps.get(api.uid)
        found = self.backend.store.config_maps.get((api.namespace, objects.config_map_name(api)))
        if wrote and (found is None or found.digest != wrote[0]):
            await self.backend.apply_record(api.uid, wrote[1], "")

    async def _costs(self) -> None:
        """A mark that is not ours any more: left by an earlier leader, or by a person."""
        store, marked = self.backend.store, self.backend.wrote.marked
        ours = frozenset().union(*marked.values())
        stray = [pod for pod in store.pods.values() if pod.cost == GOES_FIRST and pod.uid not in ours]
        for pod in stray:
            if not pod.deleting:
                await self.backend.set_cost(pod.uid, pod, "")
        for (key, component), uids in marked.items():
            deployment = self.backend.deployment(key, component)
            for pod in list(store.selected(deployment.namespace, deployment.selector)) if deployment else ():
                if pod.uid in uids and pod.cost != GOES_FIRST and not pod.deleting:
                    await self.backend.set_cost(key, pod, GOES_FIRST)

    # ----------------------------------------------------------------------------------------------------- replicas

    async def _replicas(self, api: ApiRecord) -> None:
        for component, name in targets.targets(api):
            deployment = self.backend.deployment(api.uid, component.name)
            if deployment is None:
                continue
            ours = self.backend.wrote.replicas.setdefault(name, deployment.replicas)
            if ours != deployment.replicas and deployment.writers != (SCALE_MANAGER,):
                await self._overwrite(api, component, name, ours)
            self._judge(name)

    async def _overwrite(self, api: ApiRecord, component: Component, name: Name, ours: int) -> None:
        """Somebody set another number."""
        backend, deployment = self.backend, self.backend.store.deployments[name]
        who = ", ".join(writer for writer in deployment.writers if writer != SCALE_MANAGER) or "nobody named"
        times = self._overwritten.setdefault(name, [])
        times.append(self.clock())
        message = f"{component.name}: {who} set {deployment.replicas} replicas"
        self._judge(name, f"{who} sets replicas")
        held = api.spec is None or not targets.scales(api.spec, component) or _paused(api)
        if held or name in backend.contested or targets.autoscalers(backend.store, name):
            backend.wrote.replicas[name] = deployment.replicas
        elif isinstance(await backend.set_replicas(api.uid, deployment, ours, deployment.version), Done):
            message += f", {ours} are put back"
        else:
            times.pop()  # it was changed again while we looked: the next tick sees what is there
            return
        if not held:
            told = Event("Warning", "ReplicasOverwritten", message, component.name)
            await backend.emit(Api(api.uid, api.name, api.generation, api.created_at, api.spec), told)

    def _judge(self, name: Name, who: str = "") -> None:
        now, times = self.clock(), self._overwritten.get(name, [])
        recent = [at for at in times if now - at < WINDOW_S]
        self._overwritten[name] = recent
        if len(recent) >= TIMES and who:
            self.backend.contested[name] = who
        elif not recent:
            self.backend.contested.pop(name, None)
            del self._overwritten[name]


def _paused(api: ApiRecord) -> bool:
    paused = api.spec.paused if api.spec else None
    return paused is not None and (paused.scale_up or paused.scale_down)
