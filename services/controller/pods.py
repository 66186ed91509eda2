"""The pods' control ports: read every snapshot, push a document, drain one (contract.md §1.11).

Polls run side by side over one connection pool, at most as many as it has connections, and end 700 ms after the tick
began, whoever waits; of pushes and drains 32 at a time, and an answer that does not come within its second is none.
`ControlPorts` is the seam: the loop's tests put a scripted one in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import httpx

from services.controller.backend import Pod
from services.controller.writes import Writer
from services.runtime.http_client import ControlClient, ControlError, client
from services.schema.snapshot import Snapshot

T = TypeVar("T")
PARALLEL: Final = 32
POLL_S: Final = 0.7
CALL_S: Final = 1.0
CONNECTIONS: Final = 64
DRAIN_S: Final = 120
"""A mark ends by itself this long after the last call: a controller that vanishes leaves nobody drained."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A pod's word on a push. `status` 200, 409, 422, 401, or 0 = none came."""

    status: int
    hash: str = ""
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Polled:
    """Snapshots by uid, and whether a pod refused our token."""

    snapshots: Mapping[str, Snapshot]
    unauthorized: bool = False


class ControlPorts(Protocol):
    """What the loop asks of pods."""

    async def poll(self, pods: Iterable[Pod], token: str) -> Polled:
        """Every snapshot that came in time."""
        ...

    async def push(self, pods: Iterable[Pod], token: str, epoch: int, document: bytes) -> Mapping[str, Answer]:
        """Offer the document; answers by uid."""
        ...

    async def drain(self, pods: Iterable[Pod], token: str, epoch: int, *, on: bool) -> frozenset[str]:
        """Mark or unmark; the uids that agreed."""
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...


@dataclass(frozen=True, slots=True)
class Hands:
    """What acting needs: the home, the pods' control ports, and the way in."""

    backend: Writer
    ports: ControlPorts
    token: str


class HttpControlPorts:
    """`ControlPorts` over HTTP. `http` where there are more hosts than httpx's own pool is made for."""

    def __init__(self, http: httpx.AsyncClient | None = None) -> None:
        self._http = http or client(timeout_s=CALL_S, connections=CONNECTIONS + PARALLEL)
        self._calls, self._polls = asyncio.Semaphore(PARALLEL), asyncio.Semaphore(CONNECTIONS)

    async def close(self) -> None:
        await self._http.aclose()

    async def poll(self, pods: Iterable[Pod], token: str) -> Polled:
        until = asyncio.get_running_loop().time() + POLL_S

        async def one(pod: Pod) -> Snapshot | int:
            try:
                async with asyncio.timeout_at(until):
                    return await self._client(pod, token, POLL_S).snapshot()
            except ControlError as error:
                return error.status
            except TimeoutError:
                return 0

        found = await self._each(pods, one, self._polls)
        snapshots = {uid: answer for uid, answer in found.items() if isinstance(answer, Snapshot)}
        return Polled(snapshots, unauthorized=httpx.codes.UNAUTHORIZED in found.values())

    async def push(self, pods: Iterable[Pod], token: str, epoch: int, document: bytes) -> Mapping[str, Answer]:
        async def one(pod: Pod) -> Answer:
            try:
                ack = await self._client(pod, token, CALL_S, epoch).push_tiers(document)
            except ControlError as error:
                return Answer(error.status, errors=error.errors)
            return Answer(200, ack.hash)

        return await self._each(pods, one)

    async def drain(self, pods: Iterable[Pod], token: str, epoch: int, *, on: bool) -> frozenset[str]:
        async def one(pod: Pod) -> bool:
            try:
                draining, _ = await self._client(pod, token, CALL_S, epoch).drain(on, DRAIN_S)
            except ControlError:
                return False
            return draining == on

        return frozenset(uid for uid, agreed in (await self._each(pods, one)).items() if agreed)

    def _client(self, pod: Pod, token: str, timeout_s: float, epoch: int | None = None) -> ControlClient:
        return ControlClient(pod.control_url, token, http=self._http, epoch=epoch, timeout_s=timeout_s)

    async def _each(
        self, pods: Iterable[Pod], ask: Callable[[Pod], Awaitable[T]], slots: asyncio.Semaphore | None = None
    ) -> dict[str, T]:
        async def limited(pod: Pod) -> T:
            async with slots or self._calls:
                return await ask(pod)

        asked = [pod for pod in pods if pod.control_url]
        answers = await asyncio.gather(*(limited(pod) for pod in asked))
        return {pod.uid: answer for pod, answer in zip(asked, answers, strict=True)}
