"""The operator's process: settings → control port → Lease → watches beside the controller's loop (operator.md §8, §10).

A standby has its port and its imports, nothing else; as leader it starts kopf, waits until the watches are full, and
runs the controller that `scalable-api up` runs. Whatever ends first (the Lease, a watch, the loop) ends the process
with 1, at once: it may not write any more, and the other replica takes over. SIGTERM finishes the tick, releases the
Lease and ends with 0.

Run: `python -m scalable_operator`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

import kopf

from scalable_operator.aside import Aside
from scalable_operator.backend import KubernetesBackend
from scalable_operator.compare import Comparison
from scalable_operator.handlers import watches
from scalable_operator.healing import Healing
from scalable_operator.installed import Installed
from scalable_operator.kube import Kube
from scalable_operator.lease import Lease
from scalable_operator.ports import LeaderPorts
from scalable_operator.store import Store
from scalable_operator.watcher import Watcher
from services.controller.loop import Controller
from services.controller.prometheus import PrometheusServers
from services.runtime import tasks
from services.runtime.process import Runtime, run
from services.runtime.settings import OperatorSettings
from services.schema.snapshot import Snapshot

LOOK_S: Final = 1.0
Count = Callable[[str, str, str], object]


class Operator:
    """`Service` of services.runtime.process."""

    def __init__(self, rt: Runtime[OperatorSettings]) -> None:
        self._rt = rt
        self._store = Store()
        self._leading = False
        self._life: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._watcher: Watcher | None = None
        self._aside, self._loop = Aside("lease"), asyncio.get_running_loop()
        self._requests = rt.metrics.counter(
            "api_requests_total", "Requests to the API server", ("verb", "resource", "code")
        )
        rt.metrics.gauge("leader", "1 while this process leads", lambda: float(self._leading))

    async def start(self) -> int:
        """No data port. Raises OSError without a way to the API server."""
        info = watches.connection(watches.settings())
        if info is None:
            raise OSError("no API server: neither a service account nor KUBECONFIG")
        settings = self._rt.settings
        self._kube = self._client(info, self._requests.inc)
        self._lease = await self._aside.run(self._own_lease(info))
        self._ports = LeaderPorts(self._lease)
        self._comparison = Comparison(self._kube, self._store, settings.watch_namespaces)
        self._numbers = PrometheusServers(settings.prometheus_servers)
        self._controller = Controller(
            self._backend(),
            self._ports,
            version=settings.app_version,
            numbers=self._numbers,
            polls_per_second=settings.polls_per_second,
            metrics=self._rt.metrics,
        )
        turns = "Turns of the Lease, as far as this process has led"
        self._rt.metrics.counting("lease_transitions_total", turns, lambda: float(self._lease.epoch))
        self._life = tasks.spawn(self._live(), name="leader")
        return 0

    def _client(self, info: kopf.ConnectionInfo, count: Count) -> Kube:
        settings = self._rt.settings
        agent = f"scalable-api-operator/{settings.app_version} ({settings.instance_id})"
        return Kube(lambda: watches.connection(watches.settings()) or info, agent=agent, count=count)

    async def _own_lease(self, info: kopf.ConnectionInfo) -> Lease:
        """On its own loop, with its own connections; what it asked is counted here."""
        here, settings = self._loop, self._rt.settings
        self._lease_kube = self._client(info, lambda *asked: here.call_soon_threadsafe(self._requests.inc, *asked))
        identity = f"{settings.instance_id}_{secrets.token_hex(4)}"  # a restarted pod is another holder
        return Lease(self._lease_kube, settings.pod_namespace, identity)

    async def _live(self) -> None:
        await self._aside.run(self._lease.acquire())
        self._leading = True
        self._rt.log.info("leading", epoch=self._lease.epoch)
        keep = tasks.spawn(self._aside.run(self._lease.keep()), name="lease")
        keep.add_done_callback(lambda task: task.cancelled() or self._end("the Lease is lost"))
        self._watcher = Watcher(self._store, self._rt.settings.watch_namespaces, lambda: self._end("the watches ended"))
        self._watcher.start()
        try:
            await self._control(keep)
        finally:
            await tasks.stop(keep)

    async def _control(self, keep: asyncio.Task[None]) -> None:
        compare = tasks.spawn(self._comparison.run(), name="compare")
        await self._comparison.filled.wait()
        self._running = tasks.spawn(self._controller.run(), name="controller")
        while not (keep.done() or compare.done() or self._running.done()):
            await asyncio.wait({keep, compare, self._running}, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            if self._controller.late():
                self._end("no pass was finished for 15 s")
        if compare.done():
            self._end("the watch is behind")
        if self._running.done() and not self._running.cancelled():
            self._end("the loop ended")
        await tasks.stop(compare)

    def _backend(self) -> KubernetesBackend:
        backend = KubernetesBackend(
            self._kube,
            self._store,
            self._lease,
            instance=self._rt.settings.instance_id,
            installed=None if self._rt.settings.watch_namespaces else Installed(self._kube),
        )
        backend.heal = Healing(backend).run
        return backend

    def _end(self, why: str) -> NoReturn:
        """Nothing may be written any more, so nothing is tidied up."""
        self._rt.log.error("exiting", why=why)
        time.sleep(0.1)  # the log's writer is a thread
        os._exit(1)

    def drain(self, on: bool) -> None:
        """No requests: nothing to lead elsewhere."""

    async def close(self, within_s: float) -> None:
        """Finish the tick, let the Lease go."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running}, timeout=within_s)
        await self._aside.run(self._lease.release())
        await tasks.stop(self._life)
        if self._watcher is not None:
            await self._watcher.stop()
        await self._ports.close()
        await self._numbers.close()
        await self._kube.close()
        await self._aside.run(self._lease_kube.close())
        await self._aside.close()

    def checks(self) -> Mapping[str, bool]:
        return {"caches": not self._leading or self._comparison.filled.is_set()}

    def snapshot(self) -> Snapshot:
        return self._rt.snapshot(ready=all(self.checks().values()), in_flight=0)


def main() -> NoReturn:
    run(OperatorSettings, Operator)
