"""All control ports of FLEET: who is there, what each says of itself, and one question put to many at once.

Snapshots are at most a second old and collected once for however many ask. A process that does not answer is named,
and the view is `partial`: an admin page must not wait for, or hide, a dead one. Called by the admin routes and
`/lb/status`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from time import monotonic, time
from typing import Final, Generic, TypeVar

import httpx

from services.api.fleet.tiers import FleetTiers
from services.runtime.discovery import Discovery
from services.runtime.endpoints import EndpointInfo, authority
from services.runtime.http_client import ControlClient, ControlError, client
from services.runtime.log import get_log
from services.runtime.tasks import spawn, stop
from services.schema.snapshot import Snapshot

T = TypeVar("T")
FRESH_S: Final = 1.0
AT_ONCE: Final = 32  # questions under way together
log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the fleet; component and instance are known once it has answered."""

    id: str
    component: str
    instance: str
    snapshot: Snapshot | None  # None: did not answer


@dataclass(frozen=True, slots=True)
class View:
    """`as_of`: wall seconds of the collection."""

    as_of: float
    processes: tuple[Process, ...]

    @property
    def missing(self) -> list[str]:
        return [p.instance or p.id for p in self.processes if p.snapshot is None]

    @property
    def partial(self) -> bool:
        return bool(self.missing)

    def snapshots(self, component: str = "") -> list[Snapshot]:
        return [p.snapshot for p in self.processes if p.snapshot and component in {"", p.component}]


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """One process's answer to a question; `value` None: it did not answer, or refused with `status`."""

    process: Process
    value: T | None
    status: int = 200


class Fleet:
    def __init__(self, sources: Collection[str], token: str) -> None:
        self._token = token
        self._discovery = Discovery(tuple(sources), self._changed)
        self._http: httpx.AsyncClient | None = None
        self._clients: dict[str, ControlClient] = {}
        self._known: dict[str, tuple[str, str]] = {}  # id -> component, instance of its last answer
        self._view: View | None = None
        self._taken = 0.0
        self._collecting: asyncio.Task[View] | None = None
        self.tiers = FleetTiers(self)

    async def start(self) -> None:
        self._http = client()
        await self._discovery.start()

    async def close(self) -> None:
        await stop(self._collecting)
        await self._discovery.stop()
        if self._http is not None:
            await self._http.aclose()

    async def look(self) -> View:
        """Every process's snapshot, at most a second old."""
        if self._view is not None and monotonic() - self._taken < FRESH_S:
            return self._view
        if self._collecting is None or self._collecting.done():
            self._collecting = spawn(self._collect(), name="fleet")
        return await asyncio.shield(self._collecting)

    async def ask(
        self,
        question: Callable[[ControlClient], Awaitable[T]],
        *components: str,
        one: bool = False,
    ) -> list[Answer[T]]:
        """`question` to every process of `components` (none: all). `one`: each component's ready ones in turn until
        one answers.
        """
        view = await self.look()
        asked = [p for p in view.processes if not components or not p.component or p.component in components]
        if not one:
            return list(await asyncio.gather(*(self._put(p, question) for p in asked)))
        for process in sorted(asked, key=lambda p: not (p.snapshot and p.snapshot.ready)):
            if process.component and (answer := await self._put(process, question)).status:
                return [answer]
        return []

    async def _put(self, process: Process, question: Callable[[ControlClient], Awaitable[T]]) -> Answer[T]:
        control = self._clients.get(process.id)
        if control is None or process.snapshot is None:
            return Answer(process, None, 0)
        try:
            return Answer(process, await question(control))
        except ControlError as error:
            return Answer(process, None, error.status)

    async def _collect(self) -> View:
        gate = asyncio.Semaphore(AT_ONCE)
        asked = list(self._clients.items())
        processes = await asyncio.gather(*(self._read(gate, name, control) for name, control in asked))
        self._view = View(time(), tuple(sorted(processes, key=lambda p: (p.component, p.instance, p.id))))
        self._taken = monotonic()
        return self._view

    async def _read(self, gate: asyncio.Semaphore, name: str, control: ControlClient) -> Process:
        try:
            async with gate:
                snapshot = await control.snapshot()
        except ControlError as error:
            log.info("no snapshot", process=name, error=str(error))
            return Process(name, *self._known.get(name, ("", "")), None)
        self._known[name] = (snapshot.component, snapshot.instance)
        return Process(name, snapshot.component, snapshot.instance, snapshot)

    def _changed(self, endpoints: tuple[EndpointInfo, ...]) -> None:
        urls = {e.id: e.control_url or f"http://{authority(e.host, e.port)}" for e in endpoints}
        kept = {name: c for name, c in self._clients.items() if urls.get(name) == c.url}
        self._clients = {n: kept.get(n) or ControlClient(u, self._token, http=self._http) for n, u in urls.items()}
        self._known = {name: known for name, known in self._known.items() if name in urls}
        self._view = None
