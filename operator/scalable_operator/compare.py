"""Is the watch alive? Once a minute the objects' names are listed and compared with what the watch has brought.

kopf's handlers see no bookmarks, so a watch's age is invisible; a list that names what the store does not know after
half a minute, or a newer version of it, means that nothing arrives any more (operator.md §9).

Caller: main.py, as leader.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from scalable_operator.handlers.watches import OURS
from scalable_operator.kube import Kube, Place
from scalable_operator.store import Store

EVERY_S: Final = 60.0
BEHIND_S: Final = 30.0
LOOK_S: Final = 0.5


class Comparison:
    """`run` returns when the store is too far behind; `filled` once everything that was listed first is known."""

    def __init__(
        self, kube: Kube, store: Store, namespaces: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kube, self._store, self._clock = kube, store, clock
        self._places = [Place(*OURS, namespace) for namespace in namespaces] or [Place(*OURS)]
        self._behind: dict[str, float] = {}
        self.filled = asyncio.Event()

    async def run(self) -> None:
        await self._fill()
        while True:
            await asyncio.sleep(EVERY_S * random.uniform(0.9, 1.1))  # noqa: S311  # spreads requests; no secret
            if await self._is_dead():
                return

    async def _fill(self) -> None:
        while True:
            listed = await self._listed()
            if listed is not None and set(listed) <= set(self._store.apis):
                self.filled.set()
                return
            await asyncio.sleep(LOOK_S)

    async def _is_dead(self) -> bool:
        """Looks again after half a minute before it says so: a list may be younger than the watch's last event."""
        wanted = await self._listed() or {}
        if not self._missing(wanted):
            return False
        await asyncio.sleep(BEHIND_S)
        still = self._missing(wanted)
        gone = set(await self._listed() or {})
        return any(uid in gone for uid in still)

    def _missing(self, wanted: dict[str, int]) -> set[str]:
        apis = self._store.apis
        return {uid for uid, version in wanted.items() if uid not in apis or int(apis[uid].version or 0) < version}

    async def _listed(self) -> dict[str, int] | None:
        found: dict[str, int] = {}
        for place in self._places:
            answer = await self._kube.list_metadata(place)
            if not answer.ok:
                return None
            items = [item["metadata"] for item in answer.body.get("items") or ()]
            found |= {meta["uid"]: int(meta["resourceVersion"]) for meta in items}
        return found
