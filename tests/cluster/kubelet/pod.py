"""One pod: its volumes kept in step, its containers run, its status told, its end played through to the last request.

Caller: tests/cluster/process_node.py, whose `Host` side it uses.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any, Final

import httpx

from services.runtime.tasks import spawn, stop
from tests.cluster.kubelet.container import LOOK_AGAIN_S, Container, now
from tests.cluster.kubelet.launch import Host, launch_of
from tests.cluster.kubelet.spec import Around, NotPlayedError, NotYetError, volume_files
from tests.cluster.kubelet.volumes import write_volume

Object = dict[str, Any]
SYNC_S: Final = 1.0  # the kubelet's is a minute and a half; a test has no time for that
STRATEGIC: Final = {"content-type": "application/strategic-merge-patch+json"}


class Pod:
    """`live` is its whole life; `object` the latest the API server has told."""

    def __init__(self, host: Host, told: Object, ip: str) -> None:
        self.object, self.ip = told, ip
        self._host = host
        self.folder: Path = host.folder / "pods" / told["metadata"]["uid"]
        self._token = ""
        self._conditions: dict[str, Object] = {}
        self._deleting, self._dirty = asyncio.Event(), asyncio.Event()
        self._started_at = now()
        self.seen_s = time.monotonic()
        self.ready_s = 0.0  # monotonic, of the first time
        spec = told["spec"]
        policy = spec.get("restartPolicy", "Always")
        once = "OnFailure" if policy != "Never" else "Never"
        self.init = [self._container(one, once) for one in spec.get("initContainers", ())]
        self.containers = [self._container(one, policy) for one in spec["containers"]]

    # ---------------------------------------------------------------------------------------------- questions

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.object["metadata"]["namespace"])

    @property
    def ready(self) -> bool:
        return all(one.ready for one in self.containers)

    @property
    def terminating(self) -> bool:
        return "deletionTimestamp" in self.object["metadata"]

    @property
    def phase(self) -> str:
        codes = [one.code for one in self.containers]
        if self.object["spec"].get("restartPolicy", "Always") != "Always" and None not in codes:
            return "Failed" if any(codes) else "Succeeded"
        return "Running" if any(one.process for one in self.containers) else "Pending"

    def volume(self, name: str) -> Path:
        """Where it is."""
        return self.folder / "volumes" / name

    # --------------------------------------------------------------------------------------------------- life

    def update(self, told: Object) -> None:
        self.object = told
        if self.terminating:
            self._deleting.set()

    async def live(self) -> None:
        """Until it was deleted and is gone."""
        work, publish = (spawn(each, name=f"pod {self.name}") for each in (self._work(), self._publish()))
        try:
            self.update(self.object)
            await self._deleting.wait()
            await self._leave()
            await asyncio.wait([work], timeout=1.0)  # it notes how its containers ended
        finally:
            await stop(work, publish)
            await self.kill()
        await self._tell()
        uid = self.object["metadata"]["uid"]
        gone = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        await self._host.http.request("DELETE", self._path(), json=gone)

    async def kill(self) -> None:
        await asyncio.gather(*(one.kill() for one in (*self.init, *self.containers)))

    async def _leave(self) -> None:
        """The grace period: preStop, SIGTERM, SIGKILL."""
        grace_s = float(self.object["metadata"].get("deletionGracePeriodSeconds") or 0)
        until = time.monotonic() + grace_s
        waits = [one.spec.get("lifecycle", {}).get("preStop", {}).get("sleep", {}) for one in self.containers]
        if any(one.running for one in self.containers):
            await asyncio.sleep(min(grace_s, max(wait.get("seconds", 0) for wait in waits)))
        rest_s = max(0.0, until - time.monotonic())
        await asyncio.gather(*(one.stop(rest_s) for one in (*self.init, *self.containers)))

    async def _work(self) -> None:
        for volume in self.object["spec"].get("volumes", ()):
            if any("serviceAccountToken" in one for one in volume.get("projected", {}).get("sources", ())):
                self._token = await self._request_token()
        while not self._deleting.is_set() and not self._sync():  # noqa: ASYNC110  # what is missing may come by any way
            await asyncio.sleep(LOOK_AGAIN_S)
        for one in self.init:
            await one.run()
            if one.code != 0:
                return
        syncing = spawn(self._keep_in_step(), name=f"{self.name} volumes")
        try:
            await asyncio.gather(*(one.run() for one in self.containers))
        finally:
            await stop(syncing)

    async def _keep_in_step(self) -> None:
        while True:
            await asyncio.sleep(SYNC_S)
            self._sync()

    def _sync(self) -> bool:
        """Writes what has changed; False while something is missing that must be there."""
        around = self._around()
        for volume in self.object["spec"].get("volumes", ()):
            try:
                files = volume_files(volume, around, self._token, self._host.authority)
            except (NotYetError, NotPlayedError) as error:
                for one in (*self.init, *self.containers):
                    if not one.process:
                        one.state = {"waiting": {"reason": "ContainerCreating", "message": str(error)}}
                self._changed()
                return False
            if files is None:
                self.volume(volume["name"]).mkdir(parents=True, exist_ok=True)
            else:
                write_volume(self.volume(volume["name"]), files)
        return True

    def _around(self) -> Around:
        return Around(self.object, self.ip, self._host.lookup)

    async def _request_token(self) -> str:
        meta, account = self.object["metadata"], self.object["spec"].get("serviceAccountName", "default")
        bound = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        answer = await self._host.http.post(path, json={"spec": {"boundObjectRef": bound, "expirationSeconds": 3600}})
        return str(answer.raise_for_status().json()["status"]["token"])

    # ----------------------------------------------------------------------------------------------- containers

    def _container(self, spec: Object, policy: str) -> Container:
        log = self._host.folder / "logs" / f"{self.name}.{spec['name']}.log"
        grace_s = self.object["spec"].get("terminationGracePeriodSeconds", 30)
        return Container(
            spec,
            self.ip,
            log,
            self._host.http,
            lambda: launch_of(spec, self._around(), self._host, self.folder),
            self._changed,
            policy,
            grace_s,
        )

    # --------------------------------------------------------------------------------------------------- status

    def _changed(self) -> None:
        if self.ready and not self.ready_s:
            self.ready_s = time.monotonic()
        self._dirty.set()
        self._host.changed()

    async def _publish(self) -> None:
        """Tells the API server, once per turn of the loop at most."""
        self._dirty.set()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._tell()

    async def _tell(self) -> None:
        with contextlib.suppress(httpx.HTTPError):  # the next change tells all again
            body = {"metadata": {"uid": self.object["metadata"]["uid"]}, "status": self.status()}
            await self._host.http.request("PATCH", f"{self._path()}/status", headers=STRATEGIC, json=body)

    def status(self) -> Object:
        done = all(one.code == 0 for one in self.init)
        truths = {"Initialized": done, "ContainersReady": self.ready, "Ready": self.ready}
        own: Object = {"phase": self.phase, "hostIP": "127.0.0.1", "startTime": self._started_at}
        if self.phase != "Pending":
            own |= {"podIP": self.ip, "podIPs": [{"ip": self.ip}]}
        return own | {
            "conditions": [self._condition(kind, holds) for kind, holds in truths.items()],
            "initContainerStatuses": [one.status() for one in self.init],
            "containerStatuses": [one.status() for one in self.containers],
        }

    def _condition(self, kind: str, holds: bool) -> Object:
        known = self._conditions.get(kind)
        if known is None or known["status"] != str(holds):
            self._conditions[kind] = {"type": kind, "status": str(holds), "lastTransitionTime": now()}
        return self._conditions[kind]

    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
