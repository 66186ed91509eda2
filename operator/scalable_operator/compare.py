"""Are the watches full, and are they alive? Names are listed and compared with what the watches have brought.

kopf can hold events back until all of its indexes are full, but its workers then wait for one another: with nine
thousand objects that took minutes. So nothing is indexed, events come as they come, and the controller starts when
everything that was listed first is known. Afterwards the ScalableApis are listed once a minute, for kopf's handlers see
no bookmarks: a list that names what the store does not know after half a minute, or a newer version of it, means that
nothing arrives any more (operator.md §9).

Caller: main.py, as leader.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from scalable_operator.handlers.watches import OURS, SELECTORS, WATCHED
from scalable_operator.kube import Kube, Meta, Place
from scalable_operator.store import Store

EVERY_S: Final = 60.0
BEHIND_S: Final = 30.0
LOOK_S: Final = 0.2
LIST_AGAIN_S: Final = 5.0
"""What was listed and is not known may have gone meanwhile: then the list is old, not the watch."""


class Comparison:
    """`run` returns when the store is too far behind; `filled` once everything that was listed first is known."""

    def __init__(
        self, kube: Kube, store: Store, namespaces: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kube, self._store, self._clock = kube, store, clock
        self._namespaces = namespaces or ("",)
        self.filled = asyncio.Event()

    async def run(self) -> None:
        await self._fill()
        while True:
            await asyncio.sleep(EVERY_S * random.uniform(0.9, 1.1))  # noqa: S311  # spreads requests; no secret
            if await self._is_dead():
                return

    async def _fill(self) -> None:
        for resource in (OURS, *(resource for resource, _ in WATCHED)):
            while not await self._is_known(resource):
                pass
        self.filled.set()

    async def _is_known(self, resource: tuple[str, str, str]) -> bool:
        """One list, and until the store has all of it; False when it is time for another list."""
        listed = await self._listed(resource)
        asked = self._clock()
        while listed is None or not self._store.knows(resource[2], listed):
            if listed is None or self._clock() - asked > LIST_AGAIN_S:
                await asyncio.sleep(LOOK_S)
                return False
            await asyncio.sleep(LOOK_S)
        return True

    async def _is_dead(self) -> bool:
        """Looks again after half a minute before it says so: a list may be younger than the watch's last event."""
        wanted = await self._listed(OURS) or []
        if not self._missing(wanted):
            return False
        await asyncio.sleep(BEHIND_S)
        still = self._missing(wanted)
        there = {meta["uid"] for meta in await self._listed(OURS) or ()}
        return bool(still & there)

    def _missing(self, wanted: Iterable[Meta]) -> set[str]:
        apis = self._store.apis
        return {
            meta["uid"]
            for meta in wanted
            if meta["uid"] not in apis or int(apis[meta["uid"]].version or 0) < int(meta["resourceVersion"])
        }

    async def _listed(self, resource: tuple[str, str, str]) -> list[Meta] | None:
        """Metadata of all that are watched; None when there was no answer."""
        found: list[Meta] = []
        for namespace in self._namespaces:
            listed = await self._kube.list_metadata(Place(*resource, namespace), SELECTORS.get(resource[2], ""))
            if listed is None:
                return None
            found += listed
        return found
