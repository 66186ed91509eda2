"""Objects of one resource, held in memory by list and watch, as every kubelet and controller does.

Caller: tests/cluster/process_node.py (pods of the node, services, configMaps, secrets).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import httpx

from services.runtime.endpoints import SourceError
from services.runtime.kube_api import check, decoded, lines

Object = dict[str, Any]
Key = tuple[str, str]
WATCH_S: Final = 300
PAUSE_S: Final = 0.2


class Cache:
    """`changed` is called with the old and the new object of a key; None where there is none."""

    def __init__(
        self, http: httpx.AsyncClient, path: str, changed: Callable[[Object | None, Object | None], None], **query: str
    ) -> None:
        self.objects: dict[Key, Object] = {}
        self._http, self._path, self._changed, self._query = http, path, changed, query
        self._version = ""

    async def list(self) -> None:
        answer = await self._http.get(self._path, params=self._query)
        check(answer)
        body = decoded(answer.content)
        found = {key_of(item): item for item in body.get("items") or ()}
        self._version = body["metadata"]["resourceVersion"]
        for key in [key for key in self.objects if key not in found]:
            self._set(key, None)
        for key, item in found.items():
            self._set(key, item)

    async def follow(self) -> None:
        """Watches until it is cancelled; lists again where that fails."""
        while True:
            try:
                if not self._version:
                    await self.list()
                await self._watch()
            except (httpx.HTTPError, SourceError):
                self._version = ""
                await asyncio.sleep(PAUSE_S)

    async def _watch(self) -> None:
        query = {"watch": "true", "resourceVersion": self._version, "timeoutSeconds": str(WATCH_S)}
        timeout = httpx.Timeout(10, read=WATCH_S + 10)
        async with self._http.stream("GET", self._path, params=self._query | query, timeout=timeout) as answer:
            if answer.is_error:
                await answer.aread()
            check(answer)
            async for line in lines(answer):
                event = decoded(line)
                if event["type"] == "ERROR":
                    raise SourceError(str(event["object"]))
                item = event["object"]
                self._version = item["metadata"]["resourceVersion"]
                self._set(key_of(item), None if event["type"] == "DELETED" else item)

    def _set(self, key: Key, item: Object | None) -> None:
        old = self.objects.pop(key, None)
        if item is not None:
            self.objects[key] = item
        self._changed(old, item)


def key_of(item: Object) -> Key:
    return (item["metadata"].get("namespace", ""), item["metadata"]["name"])
