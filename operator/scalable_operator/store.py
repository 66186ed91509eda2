"""The records of all watched objects, and which ScalableApis are worth a tick because of a change.

Filled by the handlers, read by the backend, both on the controller's loop: kopf runs on a loop of its own thread and
hands over with `call_soon_threadsafe`. Pods are found by their labels, so a tick costs what the object's pods cost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scalable_operator.records import (
    ApiRecord,
    ConfigMapRecord,
    DeploymentRecord,
    HpaRecord,
    Name,
    PodRecord,
    Requirement,
)
from services.controller.backend import Key

Record = ApiRecord | DeploymentRecord | PodRecord | ConfigMapRecord | HpaRecord


@dataclass(slots=True)
class Store:
    """Maps by namespace and name; `apis` by uid. `edition` grows with every change."""

    apis: dict[Key, ApiRecord] = field(default_factory=dict)
    deployments: dict[Name, DeploymentRecord] = field(default_factory=dict)
    pods: dict[Name, PodRecord] = field(default_factory=dict)
    config_maps: dict[Name, ConfigMapRecord] = field(default_factory=dict)
    hpas: dict[Name, HpaRecord] = field(default_factory=dict)
    ever_ready: set[str] = field(default_factory=set)
    dirty: set[Key] = field(default_factory=set)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    edition: int = 0
    _labelled: dict[tuple[str, str, str], set[Name]] = field(default_factory=lambda: defaultdict(set))
    _in_namespace: dict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))

    def put(self, record: Record) -> None:
        """Keep it, unless a newer one is known (an answer to a write outruns its watch event); whom it concerns is dirty."""
        if self._older(record):
            return
        self.edition += 1
        if isinstance(record, ApiRecord):
            self._put_api(record)
            return
        name = (record.namespace, record.name)
        if isinstance(record, PodRecord):
            self._put_pod(name, record)
        elif isinstance(record, DeploymentRecord):
            self.deployments[name] = record
        elif isinstance(record, ConfigMapRecord):
            self.config_maps[name] = record
        else:
            self.hpas[name] = record
        self._mark(record.namespace)

    def drop(self, record: Record) -> None:
        """It is gone."""
        self.edition += 1
        name = (record.namespace, record.name)
        if isinstance(record, ApiRecord):
            self.apis.pop(record.uid, None)
            self._in_namespace[record.namespace].discard(record.uid)
        elif isinstance(record, PodRecord):
            self._forget_pod(name)
        elif isinstance(record, DeploymentRecord):
            self.deployments.pop(name, None)
        elif isinstance(record, ConfigMapRecord):
            self.config_maps.pop(name, None)
        else:
            self.hpas.pop(name, None)
        self._mark(record.namespace)

    def knows(self, resource: str, listed: Iterable[Mapping[str, Any]]) -> bool:
        """Has the watch brought all that a list named, in any version?"""
        if resource == "scalableapis":
            return all(meta["uid"] in self.apis for meta in listed)
        maps: Mapping[str, Mapping[Name, object]] = {
            "deployments": self.deployments,
            "pods": self.pods,
            "configmaps": self.config_maps,
            "horizontalpodautoscalers": self.hpas,
        }
        known = maps[resource]
        return all((meta["namespace"], meta["name"]) in known for meta in listed)

    def selected(self, namespace: str, selector: tuple[Requirement, ...]) -> Iterator[PodRecord]:
        """The namespace's pods that a selector admits; an empty one admits none."""
        exact = [(namespace, line.key, line.values[0]) for line in selector if line.operator == "In" and line.values]
        if not exact:
            return
        rarest = min(exact, key=lambda label: len(self._labelled.get(label, ())))
        for name in sorted(self._labelled.get(rarest, ())):
            labels = dict(self.pods[name].labels)
            if all(line.admits(labels) for line in selector):
                yield self.pods[name]

    async def changed(self, timeout_s: float) -> set[Key]:
        """Whom something concerned since the last call; waits for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.woken.wait()
        self.woken.clear()
        found, self.dirty = self.dirty, set()
        return found

    def _older(self, record: Record) -> bool:
        name = (record.namespace, record.name)
        known: Record | None = None
        if isinstance(record, ApiRecord):
            known = self.apis.get(record.uid)
        elif isinstance(record, PodRecord):
            known = self.pods.get(name)
        elif isinstance(record, DeploymentRecord):
            known = self.deployments.get(name)
        elif isinstance(record, ConfigMapRecord):
            known = self.config_maps.get(name)
        return known is not None and _number(record.version) < _number(known.version)

    def _put_api(self, record: ApiRecord) -> None:
        """One that cannot be accepted leaves the spec that was in force; our own status writes wake nobody."""
        before = self.apis.get(record.uid)
        if record.spec is None and before is not None:
            record = replace(record, spec=before.spec)
        self.apis[record.uid] = record
        self._in_namespace[record.namespace].add(record.uid)
        if before is None or _asks(before) != _asks(record):
            self.dirty.add(record.uid)
            self.woken.set()

    def _put_pod(self, name: Name, record: PodRecord) -> None:
        self._forget_pod(name, keep=record.uid)
        self.pods[name] = record
        if record.ready:
            self.ever_ready.add(record.uid)
        for key, value in record.labels:
            self._labelled[record.namespace, key, value].add(name)

    def _forget_pod(self, name: Name, keep: str = "") -> None:
        before = self.pods.pop(name, None)
        if before is None:
            return
        if before.uid != keep:
            self.ever_ready.discard(before.uid)
        for key, value in before.labels:
            names = self._labelled[before.namespace, key, value]
            names.discard(name)
            if not names:
                del self._labelled[before.namespace, key, value]

    def _mark(self, namespace: str) -> None:
        if concerned := self._in_namespace.get(namespace):
            self.dirty |= concerned
            self.woken.set()


def _asks(record: ApiRecord) -> tuple[object, ...]:
    return (record.generation, record.annotations, record.deleting)


def _number(version: str) -> int:
    """A resourceVersion is one growing number per object."""
    return int(version) if version.isdigit() else 0
