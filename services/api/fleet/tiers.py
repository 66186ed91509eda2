"""The tiers document in force, as the gateways enforce it, and who has acknowledged it.

The api has no document of its own: the newest revision a live gateway or balancer reports is the one in force, and
its text is asked of a process that enforces it, once per hash. Called by the routes of tiers, rate limits and
explain, and where keys are given a tier.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from services.runtime.http_client import ControlClient
from services.schema.tiers import BUILT_IN, TiersDocument, TiersRefusedError, parse

if TYPE_CHECKING:
    from services.api.fleet.collection import Fleet, Process, View

ENFORCERS: Final = ("gateway", "balancer")
PATH: Final = "/control/v1/tiers"


@dataclass(frozen=True, slots=True)
class Ack:
    component: str
    instance: str
    hash: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Acks:
    """`stale`: instances that enforce another document, or did not answer."""

    acks: tuple[Ack, ...]
    stale: tuple[str, ...]


class FleetTiers:
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._document = BUILT_IN
        self._asking = asyncio.Lock()

    async def current(self) -> TiersDocument:
        """The document in force; the last one known while nobody can be asked."""
        if self._known(newest(await self._fleet.look())):
            return self._document
        async with self._asking:
            revision, wanted = newest(await self._fleet.look())
            if not self._known((revision, wanted)):
                spec = next((d for d in (self._document, BUILT_IN) if d.hash == wanted), None)
                found = spec or await self._ask(wanted) or self._document
                self._document = found.model_copy(update={"revision": revision}) if found.hash == wanted else found
        return self._document

    def _known(self, state: tuple[int, str]) -> bool:
        return not state[1] or state == (self._document.revision, self._document.hash)

    async def acks(self, document: TiersDocument) -> Acks:
        view = await self._fleet.look()
        enforcers = [p for p in view.processes if p.component in ENFORCERS]
        found = tuple(ack for p in enforcers if (ack := _ack(p)) is not None)
        enforced = {a.instance for a in found if a.hash == document.hash}
        return Acks(found, tuple(p.instance for p in enforcers if p.instance not in enforced))

    async def _ask(self, wanted: str) -> TiersDocument | None:
        async def text(control: ControlClient) -> Any:
            return await control.request("GET", PATH)

        for answer in await self._fleet.ask(text, *ENFORCERS):
            try:
                document = parse(msgspec.json.encode(answer.value))
            except TiersRefusedError:
                continue
            if document.hash == wanted:
                return document
        return None


def newest(view: View) -> tuple[int, str]:
    """Revision and hash of the newest document enforced anywhere; (-1, "") if nobody enforces one."""
    states = [(s.tier.revision, s.tier.hash) for s in view.snapshots() if s.tier is not None]
    return max(states, default=(-1, ""))


def plain(document: TiersDocument) -> dict[str, Any]:
    """The document as JSON members."""
    return document.model_dump(mode="json", by_alias=True, exclude_none=True)


def _ack(process: Process) -> Ack | None:
    snapshot = process.snapshot
    if snapshot is None or snapshot.tier is None:
        return None
    at = datetime.fromisoformat(snapshot.at).astimezone(UTC)
    return Ack(process.component, process.instance, snapshot.tier.hash, at)
