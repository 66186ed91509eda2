"""The controller's home on Kubernetes: `Backend` over the watched records and the raw client (operator.md §0, §8).

Reading is free: everything but the Secret and the record comes from `store`. Every write goes through `_write`: asked
of the lease right before, paced after a refusal, its answer taken into the store at once, so that the next tick does
not decide on what the watch has not brought yet. What others undo is put back by `healing`.

Caller: main.py. Longer than 200 lines because it is one Protocol's whole implementation.
"""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from scalable_operator import records, targets
from scalable_operator.installed import Installed
from scalable_operator.kube import Answer, Kube, Place, outcome
from scalable_operator.lease import MANAGER, Lease
from scalable_operator.pacing import Pacing
from scalable_operator.records import ApiRecord, DeploymentRecord, Name, PodRecord
from scalable_operator.resources import objects
from scalable_operator.store import Store
from scalable_operator.workloads import SCALE_MANAGER, workload
from services.controller.backend import (
    Api,
    Conflict,
    Done,
    Event,
    Fleet,
    Gone,
    Key,
    Outcome,
    Record,
    RetryAfter,
    Unchanged,
    Workload,
)
from services.runtime.log import get_log
from services.schema.status import Status

DRAIN_MANAGER: Final = "scalableapi-operator-drain"
LOOK_AGAIN_S: Final = 10.0
"""A Secret or a Deployment that was not there is looked for this often."""
NOT_LEADER_S: Final = 1.0
LOOK_S: Final = 0.5
"""What others changed is put back within two seconds."""

log = get_log(__name__)


@dataclass(slots=True)
class Written:
    """What was written last and answered: healing compares the watched digest with it. A status as packed JSON."""

    statuses: dict[Key, tuple[str, bytes]] = field(default_factory=dict)
    config_maps: dict[Key, tuple[str, Record]] = field(default_factory=dict)
    marked: dict[tuple[Key, str], frozenset[str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Looked:
    """A Secret or Deployment that was asked for: its token ('' = none), or why not."""

    at: float
    token: str = ""
    problem: str = ""


class KubernetesBackend:
    """`Backend`. `heal` is run before visits begin; `installed` is asked whether the CRD is of our version."""

    def __init__(
        self,
        kube: Kube,
        store: Store,
        lease: Lease,
        *,
        instance: str,
        installed: Installed | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kube, self.store, self.lease = kube, store, lease
        self.pacing, self.wrote = Pacing(), Written()
        self.busy: set[tuple[Key, str]] = set()
        self.heal: Callable[[], Awaitable[None]] | None = None
        self._instance, self._installed, self._clock = instance, installed, clock
        self._apis: dict[Key, Api] = {}
        self._tokens: dict[Key, _Looked] = {}
        self._absent: dict[Name, _Looked] = {}
        self._versions: dict[Key, str] = {}
        self._looked_s = 0.0

    @property
    def epoch(self) -> int:
        return self.lease.epoch

    def may_write(self) -> bool:
        return self.lease.may_write()

    async def changed(self, timeout_s: float) -> set[Key]:
        found = await self.store.changed(timeout_s)
        if self._clock() - self._looked_s >= LOOK_S:  # all objects are looked at: not at every change of one
            self._looked_s = self._clock()
            if self.heal is not None and self.may_write():
                await self.heal()
            await self._look_for_targets()
            if self._installed is not None and await self._installed.look():
                self.store.asked |= self.store.apis.keys()
        return found

    # ------------------------------------------------------------------------------------------------------ observe

    def apis(self) -> Mapping[Key, Api]:
        """Those that changed are made anew: the loop asks many times a second."""
        asked, self.store.asked = self.store.asked, set()
        for key in asked:
            record = self.store.apis.get(key)
            if record is None or record.deleting:
                self._apis.pop(key, None)
                self._forget(key)
            else:
                self._apis[key] = self._api(record)
        return self._apis

    def _api(self, record: ApiRecord) -> Api:
        looked = self._tokens.get(record.uid)
        return Api(
            key=record.uid,
            name=record.name,
            namespace=record.namespace,
            generation=record.generation,
            created_at=record.created_at,
            spec=record.spec,
            errors=record.errors,
            annotations=dict(record.annotations),
            conflict=self._conflict(record),
            outdated=self._installed.outdated if self._installed else "",
            lost={c.name: self._absent[name].problem for c, name in targets.targets(record) if name in self._absent},
            no_token=looked.problem if looked else "",
        )

    def _conflict(self, record: ApiRecord) -> str:
        for component, name in targets.targets(record):
            winner = self.store.claimant(name)
            if winner is not None and winner.uid != record.uid:
                return f"{component.name}: Deployment {name[1]} is managed by ScalableApi/{winner.name}"
        return ""

    def fleet(self, api: Api) -> Fleet:
        record = self.store.apis.get(api.key)
        found: dict[str, Workload] = {}
        for component, name in targets.targets(record) if record else ():
            deployment = self.store.deployments.get(name)
            if deployment is not None and self._has(api.key, name):
                found[component.name] = workload(self.store, deployment)
        return found

    async def _look_for_targets(self) -> None:
        """A Deployment that the watch does not show: is it absent, or without our label?"""
        missing = self.store.missing()
        for name in self._absent.keys() - missing:
            del self._absent[name]
            self.store.ask_anew(name)
        for name in sorted(missing):
            looked = self._absent.get(name)
            if looked is None or self._clock() - looked.at >= LOOK_AGAIN_S:
                found = await self.kube.get(Place("apps", "v1", "deployments", *name))
                unlabelled = f"has no label {records.COMPONENT}"
                problem = unlabelled if found.ok else "is not there" if found.code == 404 else found.message
                self._absent[name] = _Looked(self._clock(), problem=problem)
                self.store.ask_anew(name)

    async def token(self, api: Api, *, refresh: bool) -> str:
        looked, record = self._tokens.get(api.key), self.store.apis.get(api.key)
        wanted = looked is None or refresh or (looked.problem and self._clock() - looked.at >= LOOK_AGAIN_S)
        if wanted and record is not None and record.spec is not None:
            self._tokens[api.key] = looked = await self._read_token(record)
            self.store.asked.add(api.key)
        return looked.token if looked else ""

    async def _read_token(self, record: ApiRecord) -> _Looked:
        ref = record.spec.control.token_secret_ref if record.spec else None
        name, key = (ref.name if ref else None) or f"{record.name}-control", ref.key if ref else "token"
        found = await self.kube.get(Place("", "v1", "secrets", record.namespace, name))
        now = self._clock()
        if not found.ok:
            why = "is not there" if found.code == 404 else f"cannot be read: {found.message}"
            return _Looked(now, problem=f"Secret/{name} {why}")
        data = found.body.get("data") or {}
        if not data.get(key):
            return _Looked(now, problem=f"Secret/{name} has no key {key}")
        return _Looked(now, token=base64.b64decode(data[key]).decode(errors="replace").strip())

    # ------------------------------------------------------------------------------------------------------- record

    async def read_record(self, api: Api) -> Record | None:
        record = self.store.apis.get(api.key)
        if record is None:
            return None
        found = await self.kube.get(_config_map(record))
        if found.code == 404:
            self._versions[api.key] = ""
        if not found.ok:
            return None
        self._versions[api.key] = found.body["metadata"]["resourceVersion"]
        kept = objects.record_of(found.body)
        if kept is not None:
            self.wrote.config_maps[api.key] = (records.config_map_digest(found.body), kept)
        return kept

    async def write_record(self, api: Api, record: Record, seen: str) -> Outcome:
        """One that was never read is never written: it may be there, and newer."""
        known = self._versions.get(api.key)
        if known is None:
            return RetryAfter(NOT_LEADER_S)
        if seen not in {"", known}:
            return Conflict()
        return await self.apply_record(api.key, record, known)

    async def apply_record(self, key: Key, record: Record, version: str) -> Outcome:
        """`version` '': whatever is stored."""
        api = self.store.apis.get(key)
        if api is None:
            return Gone()
        place, body = _config_map(api), objects.config_map(api, record, version)
        answer = await self._write(key, "configmap", place, lambda: self.kube.apply(place, body, manager=MANAGER))
        if isinstance(answer, Answer):
            stored = records.config_map_record(answer.body)
            self._versions[key] = stored.version
            self.wrote.config_maps[key] = (stored.digest, record)
            self.store.put(stored)
            return Done(stored.version)
        return answer

    # ---------------------------------------------------------------------------------------------------- workloads

    async def mark_victims(self, api: Api, component: str, pods: frozenset[str]) -> Outcome:
        deployment = self.deployment(api.key, component)
        if deployment is None:
            self.wrote.marked.pop((api.key, component), None)  # healing clears what they still carry
            return Gone()
        self.wrote.marked[api.key, component] = pods
        for pod in list(self.store.selected(deployment.namespace, deployment.selector)):
            wanted = records.GOES_FIRST if pod.uid in pods else ""
            if pod.cost != wanted and (wanted or pod.cost == records.GOES_FIRST) and not pod.deleting:
                found = await self.set_cost(api.key, pod, wanted)
                if not isinstance(found, Done | Gone):
                    return found
        return Done()

    async def set_cost(self, key: Key, pod: PodRecord, value: str) -> Outcome:
        """'' removes it."""
        place, body = Place("", "v1", "pods", pod.namespace, pod.name), objects.cost(pod.uid, value or None)
        call = lambda: self.kube.merge(place, body, manager=DRAIN_MANAGER)  # noqa: E731
        answer = await self._write(key, f"cost {pod.name}", place, call)
        if isinstance(answer, Answer):
            self.store.put(records.pod_record(answer.body))
            return Done()
        return answer

    async def scale(self, api: Api, component: str, replicas: int, seen: str) -> Outcome:
        deployment = self.deployment(api.key, component)
        if deployment is None:
            return Gone()
        if deployment.replicas == replicas:
            return Unchanged()
        return await self.set_replicas(api.key, deployment, replicas, seen)

    async def set_replicas(self, key: Key, deployment: DeploymentRecord, replicas: int, seen: str) -> Outcome:
        name = (deployment.namespace, deployment.name)
        place, body = Place("apps", "v1", "deployments", *name, "scale"), objects.scale(replicas, seen)
        call = lambda: self.kube.merge(place, body, manager=SCALE_MANAGER)  # noqa: E731
        answer = await self._write(key, f"scale {name[1]}", place, call)
        if isinstance(answer, Answer):
            version = answer.body["metadata"]["resourceVersion"]
            self.store.put(replace(deployment, replicas=replicas, version=version, writers=(SCALE_MANAGER,)))
            return Done()
        return answer

    def deployment(self, key: Key, component: str) -> DeploymentRecord | None:
        """Of that object's component, if it has it."""
        record = self.store.apis.get(key)
        names = [name for part, name in targets.targets(record) if part.name == component] if record else []
        mine = [name for name in names if self._has(key, name)]
        return self.store.deployments.get(mine[0]) if mine else None

    def _has(self, key: Key, name: Name) -> bool:
        claimant = self.store.claimant(name)
        return claimant is not None and claimant.uid == key

    # ----------------------------------------------------------------------------------------------- status, events

    async def publish(self, api: Api, status: Status, seen: str) -> Outcome:
        del seen
        record, scaled = self.store.apis.get(api.key), self.deployment(api.key, "api")
        if record is None:
            return Gone()
        selector = records.selector_text(scaled.selector)[:512] if scaled else ""
        return await self.apply_status(record, objects.status(record, status.model_copy(update={"selector": selector})))

    async def apply_status(self, record: ApiRecord, body: objects.Object) -> Outcome:
        place = Place("scalableapi.io", "v1", "scalableapis", record.namespace, record.name, "status")
        call = lambda: self.kube.apply(place, body, manager=MANAGER)  # noqa: E731
        answer = await self._write(record.uid, "status", place, call)
        if isinstance(answer, Answer):
            digest = records.digest(answer.body.get("status") or {})
            version = answer.body["metadata"]["resourceVersion"]
            self.wrote.statuses[record.uid] = (digest, zlib.compress(msgspec.json.encode(body), 1))
            self.store.put(replace(self.store.apis.get(record.uid, record), status=digest, version=version))
            return Done()
        return answer

    async def emit(self, api: Api, event: Event) -> None:
        record = self.store.apis.get(api.key)
        if record is None:
            return
        place = Place("events.k8s.io", "v1", "events", record.namespace)
        body = objects.event(record, event, self._instance)
        call = lambda: self.kube.create(place, body, manager=MANAGER)  # noqa: E731
        await self._write(api.key, "event", place, call)

    # ------------------------------------------------------------------------------------------------------ writing

    async def _write(
        self, key: Key, kind: str, place: Place, call: Callable[[], Awaitable[Answer]]
    ) -> Answer | Outcome:
        """The answer of a write that was done, or why it was not."""
        if (standing := self.pacing.blocked(self._clock(), (key, kind))) is not None:
            return standing
        if not self.lease.may_write():
            return RetryAfter(NOT_LEADER_S)
        self.busy.add((key, kind))  # its watch event may come before its answer: that is nobody else's write
        try:
            answer = await call()
        finally:
            self.busy.discard((key, kind))
        verb = "create" if kind == "event" else "patch"
        found = self.pacing.heard(self._clock(), (key, kind), outcome(answer, verb, place))
        if isinstance(found, Done):
            log.info("written", kind=kind, path=place.path, epoch=self.epoch)
            return answer
        log.warning("not written", kind=kind, path=place.path, code=answer.code, why=answer.message)
        return found

    def _forget(self, key: Key) -> None:
        for known in (self._tokens, self._versions, self.wrote.statuses, self.wrote.config_maps):
            known.pop(key, None)
        for subject in [subject for subject in self.wrote.marked if subject[0] == key]:
            del self.wrote.marked[subject]
        self.pacing.forget(key)


def _config_map(api: ApiRecord) -> Place:
    return Place("", "v1", "configmaps", api.namespace, objects.config_map_name(api))
