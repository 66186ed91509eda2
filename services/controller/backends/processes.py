"""The controller's home on one machine: a manifest file, child processes, a state folder (operator.md §0).

    <state>/<name>.json               the object with its status, as `kubectl get -o json` would show it
    <state>/<name>-tiers/tiers.yaml   the document in force (TIERS_FILE of gateways and balancers)
    <state>/endpoints/<component>.json   who listens where (BALANCERS, API_SERVERS, FLEET: `file:` sources)
    <state>/events.jsonl, epoch

Run by `scalable-api up` and by the tests; the environment of each process is the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from services.controller import rotation
from services.controller.acks import Acks
from services.controller.backend import (
    Api,
    Denied,
    Done,
    Event,
    Fleet,
    Gone,
    Key,
    Outcome,
    Record,
    RetryAfter,
    Unchanged,
)
from services.controller.backends import record as records
from services.controller.backends.crew import Crew, Surroundings, ready_all
from services.controller.backends.files import append_event, next_epoch, write_atomically
from services.controller.backends.launch import Launcher
from services.controller.backends.manifest import Manifest, open_manifest
from services.controller.decide import rules_of
from services.controller.timetable import timetable
from services.runtime.http_client import client
from services.runtime.vitals import rfc3339
from services.schema.scalable_api import PATH_ORDER, duration_ms
from services.schema.status import Status, StoredObject

LOOK_S: Final = 0.02
STORE_BUSY_S: Final = 1.0
KILL_SHARE: Final = 0.2
"""Of the time to stop, kept for those that have to be killed."""

Environment = Callable[[str], Mapping[str, str]]


class NotReadyError(Exception):
    """A process did not come up (E107): `instance`, and its last log lines."""

    def __init__(self, instance: str, why: str, last_lines: str) -> None:
        super().__init__(f"{instance}: {why}")
        self.instance, self.why, self.last_lines = instance, why, last_lines


def endpoints_file(state: Path, component: str) -> Path:
    """Where the component's endpoints are listed."""
    return state / "endpoints" / f"{component}.json"


def tiers_file(state: Path, name: str) -> Path:
    """Where the document in force is."""
    return state / f"{name}-tiers" / records.ACTIVE


class ProcessBackend:
    """`Backend` over child processes. `environment(component)` is asked at each start; `token` is a text or a file."""

    def __init__(
        self,
        manifest: Path,
        state: Path,
        launcher: Launcher,
        environment: Environment,
        *,
        token: str | Path,
        happened: Callable[[Event], None] = lambda _event: None,
    ) -> None:
        """Raises ManifestError for a manifest that cannot be accepted, OSError for a state folder that cannot."""
        state.joinpath("endpoints").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state, self._token_source, self._happened = state, token, happened
        self.manifest: Manifest = open_manifest(manifest, state, rfc3339(time.time()))
        self.epoch = next_epoch(state / "epoch")
        self._wake = asyncio.Event()
        self._http = client(timeout_s=1.0)
        self._token = ""
        self._record: Record | None = None
        self._around = Surroundings(launcher, environment, self._read_token, self._http, self._crew_changed, self._tell)
        self.crews: dict[str, Crew] = {name: Crew(name, self._around) for name in PATH_ORDER}
        for name in PATH_ORDER:
            self._write_endpoints(name)

    # -------------------------------------------------------------------------------------------- start and stop

    async def start_all(self, within_s: float) -> None:
        """Write the document, start every component's least count, wait until all are ready; raises NotReadyError."""
        spec = self.manifest.api.spec
        if spec is None:
            return
        known = records.restore(self._folder()) or Record()
        planned = rotation.plan(round(time.time() * 1000), spec, known, Acks()).record
        if planned is not known:
            await self.write_record(self.manifest.api, planned, known.seen)
        started = []
        for name in reversed(PATH_ORDER):  # api first: whoever becomes ready finds the next hop there
            component = spec.component(name)
            if component is None:
                continue
            rules = rules_of(spec, component, timetable(round(time.time() * 1000), component))
            manual = rules.manual_replicas if rules.mode == "Manual" else None
            crew = self.crews[name]
            crew.scale(rules.minimum if manual is None else manual, crew.workload().seen, 0)
            started.append(crew)
        await self._until_ready([crew for crew in started if crew.replicas], within_s)

    async def _until_ready(self, crews: list[Crew], within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not ready_all(crews):
            for slot in (slot for crew in crews for slot in crew.slots.values()):
                late = time.monotonic() >= deadline and not slot.ready
                if slot.restarts or late:
                    why = slot.reason or f"not ready within {within_s:g} s"
                    raise NotReadyError(slot.name, why, slot.child.last_lines() if slot.child else slot.last_lines)
            await asyncio.sleep(LOOK_S)

    async def stop_all(self, within_s: float) -> None:
        """Gateways, then balancers, then apis: each finishes what it has, or is killed when its time is over."""
        deadline = time.monotonic() + within_s * (1 - KILL_SHARE)
        for position, name in enumerate(PATH_ORDER):
            children = self.crews[name].stop()
            share = (deadline - time.monotonic()) / (len(PATH_ORDER) - position)
            await asyncio.gather(*(child.wait(max(0.1, share)) for child in children))
            for child in children:
                child.kill()
            await asyncio.gather(*(child.wait(within_s * KILL_SHARE) for child in children))
            await self.crews[name].probed()
        await self._http.aclose()

    def pids(self) -> list[int]:
        """Of every process that has not ended."""
        return [child.pid for crew in self.crews.values() for child in crew.children()]

    def counts(self) -> dict[str, int]:
        """Ready processes by component, api first, for the banner."""
        return {
            name: sum(slot.ready for slot in crew.slots.values())
            for name, crew in reversed(self.crews.items())
            if crew.slots
        }

    # ------------------------------------------------------------------------------------------------ the Protocol

    def may_write(self) -> bool:
        return True

    async def changed(self, timeout_s: float) -> set[Key]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        woke = self._wake.is_set()
        self._wake.clear()
        return {self.manifest.api.key} if self.manifest.look() or woke else set()

    def apis(self) -> Mapping[Key, Api]:
        return {self.manifest.api.key: self.manifest.api}

    def fleet(self, api: Api) -> Fleet:
        named = {component.name for component in api.spec.components} if api.spec else set()
        return {name: crew.workload() for name, crew in self.crews.items() if crew.slots or name in named}

    async def token(self, api: Api, *, refresh: bool) -> str:
        del api
        if refresh:
            self._token = ""
        return self._read_token()

    async def read_record(self, api: Api) -> Record | None:
        del api
        if self._record is None:
            self._record = records.restore(self._folder())
        return self._record

    async def write_record(self, api: Api, record: Record, seen: str) -> Outcome:
        del api
        kept = replace(record, seen=str(int(seen or 0) + 1))
        try:
            records.store(self._folder(), kept)
        except OSError:
            return RetryAfter(STORE_BUSY_S)
        self._record = kept
        return Done(kept.seen)

    async def mark_victims(self, api: Api, component: str, pods: frozenset[str]) -> Outcome:
        del api
        crew = self.crews.get(component)
        return crew.mark(pods) if crew else Gone()

    async def scale(self, api: Api, component: str, replicas: int, seen: str) -> Outcome:
        crew, wanted = self.crews.get(component), api.spec.component(component) if api.spec else None
        if crew is None or wanted is None:
            return Gone()
        return crew.scale(replicas, seen, duration_ms(wanted.drain.timeout) / 1000)

    async def publish(self, api: Api, status: Status, seen: str) -> Outcome:
        del seen
        stored = StoredObject(metadata=self.manifest.metadata, spec=api.spec, status=status)
        data = (stored.model_dump_json(by_alias=True, exclude_none=True, indent=2) + "\n").encode()
        path = self._state / f"{api.name}.json"
        try:
            if path.is_file() and path.read_bytes() == data:
                return Unchanged()
            write_atomically(path, data)
        except OSError as error:
            return Denied(f"write {path.name}: {error.strerror}")
        return Done()

    async def emit(self, api: Api, event: Event) -> None:
        del api
        self._tell(event)

    # ---------------------------------------------------------------------------------------------------- the rest

    def _tell(self, event: Event) -> None:
        entry = {
            "time": rfc3339(time.time()),
            "object": self.manifest.api.name,
            "type": event.type,
            "reason": event.reason,
            "subject": event.subject,
            "message": event.message,
        }
        with contextlib.suppress(OSError):
            append_event(self._state / "events.jsonl", entry)
        self._happened(event)

    def _folder(self) -> Path:
        return tiers_file(self._state, self.manifest.api.name).parent

    def _read_token(self) -> str:
        if not self._token:
            source = self._token_source
            with contextlib.suppress(OSError):
                self._token = source if isinstance(source, str) else source.read_text().strip()
        return self._token

    def _crew_changed(self, component: str) -> None:
        self._write_endpoints(component)
        self._wake.set()

    def _write_endpoints(self, component: str) -> None:
        entries = self.crews[component].endpoints()
        data = json.dumps(entries).encode()
        with contextlib.suppress(OSError):  # readers keep the last one; the next change writes again
            write_atomically(endpoints_file(self._state, component), data, durable=False)
