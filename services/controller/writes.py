"""Every write of a visit goes through here: asked of the lease right before it, counted, and remembered if refused.

`Denied` is a right that is missing: only a person helps, so the condition says so until that kind of write succeeds.
Caller: controller.visit makes one per visit; everyone who acts has it as `Hands.backend`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.controller.backend import Api, Backend, Denied, Done, Outcome, Record, RetryAfter, Unchanged
from services.schema.status import Status

NOT_LEADING = RetryAfter(1.0)


def uncounted(_kind: str) -> None:
    """Nobody counts."""


@dataclass(frozen=True, slots=True)
class Writer:
    """The home's writing half. `denied`: kind of write → the store's words; it outlives the visit."""

    home: Backend
    denied: dict[str, str]
    count: Callable[[str], None] = uncounted

    @property
    def epoch(self) -> int:
        return self.home.epoch

    async def read_record(self, api: Api) -> Record | None:
        return await self.home.read_record(api)

    async def write_record(self, api: Api, record: Record, seen: str) -> Outcome:
        return await self._write("record", lambda: self.home.write_record(api, record, seen))

    async def mark_victims(self, api: Api, component: str, pods: frozenset[str]) -> Outcome:
        return await self._write("marks", lambda: self.home.mark_victims(api, component, pods))

    async def scale(self, api: Api, component: str, replicas: int, seen: str) -> Outcome:
        return await self._write("scale", lambda: self.home.scale(api, component, replicas, seen))

    async def publish(self, api: Api, status: Status, seen: str) -> Outcome:
        return await self._write("status", lambda: self.home.publish(api, status, seen))

    async def _write(self, kind: str, write: Callable[[], Awaitable[Outcome]]) -> Outcome:
        if not self.home.may_write():
            return NOT_LEADING
        outcome = await write()
        if isinstance(outcome, Denied):
            self.denied[kind] = outcome.message
        elif isinstance(outcome, Done | Unchanged):
            self.denied.pop(kind, None)
        if isinstance(outcome, Done):
            self.count(kind)
        return outcome
