"""The in-memory backend: what it was told, in order, and a fleet that does as it is told at once. Tests use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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
from services.schema.status import Status


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
        self.now_ms = 0
        self._start_ready = start_ready
        self._number = 0

    def have(self, component: str, replicas: int) -> None:
        """Let a workload run, as if it had been scaled before we looked."""
        self.workloads[component] = Workload(replicas, "1", f"Fake/{component}")
        self._follow(component)

    def may_write(self) -> bool:
        return True

    async def changed(self, timeout_s: float) -> set[Key]:
        del timeout_s
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
        return Done()

    async def mark_victims(self, api: Api, component: str, pods: frozenset[str]) -> Outcome:
        del api
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
