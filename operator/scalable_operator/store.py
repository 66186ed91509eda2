"""The records of all watched objects, and which ScalableApis are worth a tick because of a change.

Filled by the handlers, read by the backend, both on the controller's loop: kopf runs on a loop of its own thread and
hands over with `call_soon_threadsafe`. A Deployment's pods are found by their labels, a pod's Deployments by their
selectors, and whose Deployment it is by its name: a change costs what it concerns, however many objects there are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scalable_operator import targets
from scalable_operator.index import Index
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
Label = tuple[str, str, str]
"""Namespace, key, value."""


@dataclass(slots=True)
class Store:
    """Maps by namespace and name; `apis` by uid. `dirty`: worth a tick; `asked`: want something else than before."""

    apis: dict[Key, ApiRecord] = field(default_factory=dict)
    deployments: dict[Name, DeploymentRecord] = field(default_factory=dict)
    pods: dict[Name, PodRecord] = field(default_factory=dict)
    config_maps: dict[Name, ConfigMapRecord] = field(default_factory=dict)
    hpas: dict[Name, HpaRecord] = field(default_factory=dict)
    ever_ready: set[str] = field(default_factory=set)
    dirty: set[Key] = field(default_factory=set)
    asked: set[Key] = field(default_factory=set)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    _labelled: Index[Label, Name] = field(default_factory=Index)
    _selecting: Index[Label, Name] = field(default_factory=Index)
    _scaling: Index[Name, Name] = field(default_factory=Index)
    _naming: Index[Name, Key] = field(default_factory=Index)

    def put(self, record: Record) -> None:
        """Keep it, unless a newer one is known (an answer to a write outruns its watch event); whom it concerns is dirty."""
        if not self._older(record):
            self._replace(record, gone=False)

    def drop(self, record: Record) -> None:
        """It is gone."""
        self._replace(record, gone=True)

    def _replace(self, record: Record, *, gone: bool) -> None:
        """A ConfigMap concerns nobody: the controller knows what it wrote, and healing compares."""
        if isinstance(record, ApiRecord):
            self._replace_api(record, gone=gone)
            return
        name = (record.namespace, record.name)
        if isinstance(record, ConfigMapRecord):
            self.config_maps.pop(name, None)
            if not gone:
                self.config_maps[name] = record
        elif isinstance(record, HpaRecord):
            self._replace_hpa(name, record, gone=gone)
        elif isinstance(record, DeploymentRecord):
            self._replace_deployment(name, record, gone=gone)
        else:
            self._replace_pod(name, record, gone=gone)

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
        for name in sorted(self._perhaps_selected(namespace, selector)):
            labels = dict(self.pods[name].labels)
            if all(line.admits(labels) for line in selector):
                yield self.pods[name]

    def _perhaps_selected(self, namespace: str, selector: tuple[Requirement, ...]) -> Iterable[Name]:
        """Those with the rarest label that it demands; where it demands none, all of the namespace."""
        exact = [(namespace, key, value) for key, value in equalities(selector)]
        if exact:
            return self._labelled.of(min(exact, key=self._labelled.count))
        return [name for name in self.pods if name[0] == namespace] if selector else []

    def claimant(self, name: Name) -> ApiRecord | None:
        """The ScalableApi that has that Deployment: the older one, then the lower uid."""
        live = [self.apis[key] for key in self._naming.of(name) if not self.apis[key].deleting]
        return min(live, key=lambda api: (api.created_at, api.uid), default=None)

    def missing(self) -> set[Name]:
        """Deployments that are asked for, and that the watch does not show."""
        return self._naming.keys() - self.deployments.keys()

    def ask_anew(self, name: Name) -> None:
        """Something about that Deployment is to be told of every object that asks for it."""
        self.asked |= self._naming.of(name)

    def autoscalers(self, name: Name) -> list[HpaRecord]:
        """Those of that Deployment, by name."""
        return [self.hpas[found] for found in sorted(self._scaling.of(name))]

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

    def _replace_api(self, record: ApiRecord, *, gone: bool) -> None:
        """One that cannot be accepted leaves the spec that was in force; our own status writes wake nobody."""
        before = self.apis.pop(record.uid, None)
        if not gone:
            if record.spec is None and before is not None:
                record = replace(record, spec=before.spec)
            self.apis[record.uid] = record
            if before is not None and _asks(before) == _asks(record):
                return
        names = set() if gone else target_names(record)
        for name in target_names(before) - names:
            self._naming.drop(name, record.uid)
            self.ask_anew(name)
        for name in names:
            self._naming.add(name, record.uid)
            self.ask_anew(name)
        self.asked.add(record.uid)
        self._mark({record.uid})

    def _replace_hpa(self, name: Name, record: HpaRecord, *, gone: bool) -> None:
        before = self.hpas.pop(name, None)
        if before is not None:
            self._scaling.drop(_scaled_by(before), name)
            self._mark(self._naming.of(_scaled_by(before)))
        if not gone:
            self.hpas[name] = record
            self._scaling.add(_scaled_by(record), name)
            self._mark(self._naming.of(_scaled_by(record)))

    def _replace_deployment(self, name: Name, record: DeploymentRecord, *, gone: bool) -> None:
        """It stands under one of its labels, the one that was rarest then: so dropped from under all of them."""
        before = self.deployments.pop(name, None)
        for key, value in equalities(before.selector) if before else ():
            self._selecting.drop((name[0], key, value), name)
        if not gone:
            self.deployments[name] = record
            labels: list[Label] = [(name[0], key, value) for key, value in equalities(record.selector)]
            if labels:
                self._selecting.add(min(labels, key=self._selecting.count), name)
        self._mark(self._naming.of(name))

    def _replace_pod(self, name: Name, record: PodRecord, *, gone: bool) -> None:
        before = self.pods.pop(name, None)
        if before is not None:
            for key, value in before.labels:
                self._labelled.drop((name[0], key, value), name)
            if gone or before.uid != record.uid:
                self.ever_ready.discard(before.uid)
        if not gone:
            self.pods[name] = record
            if record.ready:
                self.ever_ready.add(record.uid)
            for key, value in record.labels:
                self._labelled.add((name[0], key, value), name)
        for selecting in self._selectors_of(record) | (self._selectors_of(before) if before else set()):
            self._mark(self._naming.of(selecting))

    def _selectors_of(self, pod: PodRecord) -> set[Name]:
        """The Deployments that select it."""
        labels = dict(pod.labels)
        found = {name for key, value in pod.labels for name in self._selecting.of((pod.namespace, key, value))}
        return {name for name in found if all(line.admits(labels) for line in self.deployments[name].selector)}

    def _mark(self, concerned: Iterable[Key]) -> None:
        before = len(self.dirty)
        self.dirty |= set(concerned)
        if len(self.dirty) != before:
            self.woken.set()


def equalities(selector: tuple[Requirement, ...]) -> list[tuple[str, str]]:
    """The labels that it demands."""
    return [(line.key, line.values[0]) for line in selector if line.operator == "In" and len(line.values) == 1]


def target_names(api: ApiRecord | None) -> set[Name]:
    """Of the Deployments that its components ask for."""
    return {name for _, name in targets.targets(api)} if api else set()


def _scaled_by(hpa: HpaRecord) -> Name:
    kind, _, name = hpa.target.partition("/")
    return (hpa.namespace, name) if kind == "Deployment" else (hpa.namespace, hpa.target)


def _asks(record: ApiRecord) -> tuple[object, ...]:
    return (record.generation, record.annotations, record.deleting)


def _number(version: str) -> int:
    """A resourceVersion is one growing number per object."""
    return int(version) if version.isdigit() else 0
