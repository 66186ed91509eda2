"""The in-memory home: a backend that does as it is told at once, and pods that say what a test lets them say.

Both note what was asked, in order. The controller's tests run on them in virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from services.controller.backend import (
    Api,
    Conflict,
    Done,
    Event,
    Fleet,
    Key,
    Outcome,
    Pod,
    Record,
    Unchanged,
    Workload,
)
from services.controller.pods import Answer, Polled
from services.schema.snapshot import Latency, Snapshot, TierState
from services.schema.status import Status
from services.schema.tiers import parse


class FakeBackend:
    """Pods become ready when `start_ready` says so; `control_urls` maps a pod's name to where it is polled."""

    epoch = 1

    def __init__(self, api: Api, *, start_ready: bool = True) -> None:
        self.objects: dict[Key, Api] = {api.key: api}
        self.workloads: dict[str, Workload] = {}
        self.record: Record | None = None
        self.published: list[Status] = []
        self.events: list[Event] = []
        self.marked: dict[str, frozenset[str]] = {}
        self.writes: list[str] = []
        self.control_urls: dict[str, str] = {}
        self.dirty: set[Key] = set()
        self._touched = asyncio.Event()
        self.now_ms = 0
        self._start_ready = start_ready
        self._number = 0

    def have(self, component: str, replicas: int) -> None:
        """Let a workload run, as if it had been scaled before we looked."""
        self.workloads[component] = Workload(replicas, "1", f"Fake/{component}")
        self._follow(component)

    def touch(self, *keys: Key) -> None:
        """Those changed: `changed` answers."""
        self.dirty |= set(keys)
        self._touched.set()

    def may_write(self) -> bool:
        return True

    async def changed(self, timeout_s: float) -> set[Key]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._touched.wait()
        self._touched.clear()
        found, self.dirty = self.dirty, set()
        return found

    def apis(self) -> Mapping[Key, Api]:
        return self.objects

    def fleet(self, api: Api) -> Fleet:
        del api
        return dict(self.workloads)

    async def token(self, api: Api, *, refresh: bool) -> str:
        del api, refresh
        return "fake-control-token"

    async def read_record(self, api: Api) -> Record | None:
        del api
        return self.record

    async def write_record(self, api: Api, record: Record, seen: str) -> Outcome:
        del api
        if self.record and self.record.seen != seen:
            return Conflict()
        self.writes.append(f"record r{record.active.revision if record.active else 0} {record.phase}")
        self.record = replace(record, seen=str(int(seen or 0) + 1))
        return Done(self.record.seen)

    async def mark_victims(self, api: Api, component: str, pods: frozenset[str]) -> Outcome:
        del api
        if self.marked.get(component, frozenset()) == pods:
            return Unchanged()
        self.writes.append(f"mark {component} {','.join(sorted(pods))}")
        self.marked[component] = pods
        return Done()

    async def scale(self, api: Api, component: str, replicas: int, seen: str) -> Outcome:
        del api
        workload = self.workloads[component]
        if workload.seen != seen:
            return Conflict()
        if workload.replicas == replicas:
            return Unchanged()
        self.writes.append(f"scale {component} {replicas}")
        self.workloads[component] = replace(workload, replicas=replicas, seen=str(int(seen) + 1))
        self._follow(component)
        return Done()

    async def publish(self, api: Api, status: Status, seen: str) -> Outcome:
        del api, seen
        self.published.append(status)
        return Done()

    async def emit(self, api: Api, event: Event) -> None:
        del api
        self.events.append(event)

    def _follow(self, component: str) -> None:
        workload = self.workloads[component]
        marked = self.marked.get(component, frozenset())
        pods = sorted(workload.pods, key=lambda pod: pod.uid in marked)[: workload.replicas]
        while len(pods) < workload.replicas:
            self._number += 1
            name = f"{component}-{self._number}"
            url = self.control_urls.get(name, f"http://{name}")
            ready = self._start_ready
            pods.append(
                Pod(name, name, "Running", ready=ready, starting=not ready, started_at_ms=self.now_ms, control_url=url)
            )
        self.workloads[component] = replace(workload, pods=tuple(pods))


class FakePorts:
    """`says[name]` = members of that pod's snapshot, of a component's if there is none; `mute` names do not answer."""

    def __init__(self) -> None:
        self.says: dict[str, dict[str, Any]] = {}
        self.mute: set[str] = set()
        self.refuses: set[str] = set()
        self.holds_newer: set[str] = set()
        self.enforced: dict[str, TierState] = {}
        self.draining: set[str] = set()
        self.calls: list[str] = []
        self.unauthorized = False
        self.polled = 0
        self._seq = 0

    async def poll(self, pods: Iterable[Pod], token: str) -> Polled:
        del token
        self._seq += 1
        pods = list(pods)
        self.polled = len(pods)
        answering = [pod for pod in pods if pod.name not in self.mute]
        return Polled({pod.uid: self._snapshot(pod.name) for pod in answering}, self.unauthorized)

    async def push(self, pods: Iterable[Pod], token: str, epoch: int, document: bytes) -> Mapping[str, Answer]:
        del token, epoch
        made, answers = parse(document), {}
        for pod in pods:
            self.calls.append(f"push {pod.name} r{made.revision}")
            if pod.name in self.mute:
                answers[pod.uid] = Answer(0)
            elif pod.name in self.holds_newer:
                answers[pod.uid] = Answer(409)
            elif pod.name in self.refuses:
                answers[pod.uid] = Answer(422, errors=("spec.tiers: not by this version",))
            else:
                self.enforced[pod.name] = TierState(made.revision, made.hash)
                answers[pod.uid] = Answer(200, made.hash)
        return answers

    async def drain(self, pods: Iterable[Pod], token: str, epoch: int, *, on: bool) -> frozenset[str]:
        del token, epoch
        agreed = [pod for pod in pods if pod.name not in self.mute]
        for pod in agreed:
            self.calls.append(f"{'drain' if on else 'undrain'} {pod.name}")
            (self.draining.add if on else self.draining.discard)(pod.name)
        return frozenset(pod.uid for pod in agreed)

    async def close(self) -> None:
        """Nothing is open."""

    def _snapshot(self, name: str) -> Snapshot:
        component = name.rpartition("-")[0]
        said = {**self.says.get(component, {}), **self.says.get(name, {})}
        zeros: dict[str, Any] = dict.fromkeys(("in_flight", "requests", "rss_bytes", "tasks"), 0)
        zeros |= dict.fromkeys(("rps", "error_rate", "loop_lag_ms", "cpu"), 0.0)
        who = {"component": component, "instance": name, "version": "1.0.0", "started_at": "", "at": ""}
        draining = name in self.draining
        state = {"seq": self._seq, "ready": not draining, "draining": draining, "tier": self.enforced.get(name)}
        return Snapshot(**{**who, **zeros, **state, "latency": Latency(), **said})
