"""One leader: a Lease that is renewed every 1.5 s, and given up in time by who cannot renew it (operator.md §8).

The client library's election compares wall clocks, waits for ever on a request and never lets go. Here another's lease
has ended `DURATION_S` after *we* saw it change last, by our monotonic clock; the holder stops acting `DEADLINE_S` after
its last renewal was *sent*, three seconds before anybody may take over. `leaseTransitions` is the epoch: pods refuse a
lower one than they have seen, so what a stopped and resumed leader still sends is void.

Caller: main.py.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from scalable_operator.kube import Answer, Kube, Place

NAME: Final = "scalable-api-operator"
MANAGER: Final = "scalableapi-operator"
DURATION_S: Final = 9
DEADLINE_S: Final = 6.0
RETRY_S: Final = 1.5
REQUEST_S: Final = 2.0

Object = dict[str, Any]


class Lease:
    """`acquire`, then `keep` until it is lost; `may_write` is asked right before every write."""

    def __init__(
        self, kube: Kube, namespace: str, identity: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kube, self._identity, self._clock = kube, identity, clock
        self._all = Place("coordination.k8s.io", "v1", "leases", namespace)
        self._place = Place("coordination.k8s.io", "v1", "leases", namespace, NAME)
        self._held: Object | None = None
        self._renewed = 0.0
        self._seen: tuple[str, float] = ("", 0.0)
        self.epoch = 0

    def may_write(self) -> bool:
        """Is it ours, and fresh enough that nobody else can have it?"""
        return self._held is not None and self._clock() - self._renewed < DEADLINE_S

    async def acquire(self) -> None:
        """Until it is ours."""
        while not await self._take():  # noqa: ASYNC110  # the API server is asked, no event comes
            await asyncio.sleep(_pause())

    async def keep(self) -> None:
        """Renew it; returns when it is lost."""
        while self.may_write():
            await asyncio.sleep(_pause())
            await self._renew()

    async def release(self) -> None:
        """Let the next one in at once."""
        held, fresh = self._held, self.may_write()
        self._held = None
        if held and fresh:
            await self._put(held, {**held["spec"], "holderIdentity": ""})

    async def _take(self) -> bool:
        asked = self._clock()
        found = await self._kube.get(self._place, timeout_s=REQUEST_S)
        if found.code == 404:
            return self._won(asked, await self._create())
        if not found.ok or not self._free(found.body, asked):
            return False
        spec = found.body.get("spec") or {}
        turns = int(spec.get("leaseTransitions") or 0) + 1
        return self._won(asked, await self._put(found.body, self._spec(turns, _now())))

    def _free(self, lease: Object, now: float) -> bool:
        spec, version = lease.get("spec") or {}, lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, now)
        ended = now - self._seen[1] >= float(spec.get("leaseDurationSeconds") or DURATION_S)
        return not spec.get("holderIdentity") or ended

    async def _renew(self) -> None:
        held, asked = self._held, self._clock()
        if held is None:
            return
        spec = {**held["spec"], "renewTime": _now()}
        answer = await self._put(held, spec)
        if answer.code == 409:
            answer = await self._renew_other_version(spec)
        if answer.ok:
            self._won(asked, answer)

    async def _renew_other_version(self, spec: Object) -> Answer:
        """Somebody wrote it: still ours (an annotation, an answer that was lost), or another's?"""
        found = await self._kube.get(self._place, timeout_s=REQUEST_S)
        if found.ok and (found.body.get("spec") or {}).get("holderIdentity") != self._identity:
            self._held = None
            return Answer(409)
        return await self._put(found.body, spec) if found.ok else found

    def _won(self, asked: float, answer: Answer) -> bool:
        if answer.ok:
            self._held, self._renewed = answer.body, asked
            self.epoch = int(answer.body["spec"]["leaseTransitions"])
        return answer.ok

    async def _create(self) -> Answer:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": self._place.namespace},
            "spec": self._spec(1, _now()),
        }
        return await self._kube.create(self._all, body, manager=MANAGER, timeout_s=REQUEST_S)

    async def _put(self, lease: Object, spec: Object) -> Answer:
        kept = {
            "name": NAME,
            "namespace": self._place.namespace,
            "resourceVersion": lease["metadata"]["resourceVersion"],
        }
        kept |= {key: lease["metadata"][key] for key in ("labels", "annotations") if key in lease["metadata"]}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": kept, "spec": spec}
        return await self._kube.update(self._place, body, manager=MANAGER, timeout_s=REQUEST_S)

    def _spec(self, transitions: int, now: str) -> Object:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_S,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }


def _pause() -> float:
    return RETRY_S * random.uniform(0.9, 1.1)  # noqa: S311  # spreads requests; no secret


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
