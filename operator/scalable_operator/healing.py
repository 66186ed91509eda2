"""Puts back what others changed: the tiers ConfigMap, the status, deletion costs (operator.md §8).

The watched object is compared with what we wrote last; what differs is written again, before the next visit. Replicas
that others set are the controller's own matter: `controller.overwrites`.

Caller: backend.changed, as leader.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import msgspec

from scalable_operator.backend import KubernetesBackend
from scalable_operator.records import GOES_FIRST, ApiRecord
from scalable_operator.resources import objects
from services.controller.conditions import DISABLED, FORCE


@dataclass(slots=True)
class Healing:
    """`run` before each tick."""

    backend: KubernetesBackend
    _forced: dict[str, str] = field(default_factory=dict)

    async def run(self) -> None:
        for api in list(self.backend.store.apis.values()):
            if api.deleting:
                continue
            self._force(api)
            await self._status(api)
            if dict(api.annotations).get(DISABLED[0]) != DISABLED[1]:
                await self._config_map(api)
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
        wrote, now = self.backend.wrote.statuses.get(api.uid), self.backend.store.apis.get(api.uid, api)
        if wrote and wrote[0] != now.status and (api.uid, "status") not in self.backend.busy:
            await self.backend.apply_status(api, msgspec.json.decode(zlib.decompress(wrote[1])))

    async def _config_map(self, api: ApiRecord) -> None:
        wrote = self.backend.wrote.config_maps.get(api.uid)
        found = self.backend.store.config_maps.get((api.namespace, objects.config_map_name(api)))
        if (api.uid, "configmap") in self.backend.busy:
            return
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
