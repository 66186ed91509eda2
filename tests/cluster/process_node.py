"""A node whose pods are processes of this checkout: the real scheduler binds pods to it, and what a kubelet does is done here.

    async with process_node(plane) as node:
        …                                   # apply Deployments; `node.pod(namespace, name)` is what runs of one

Each pod has an address of its own on loopback (127.N.N.N) and listens on the ports its containers name, so no image, no root and no network is
needed. env and envFrom, ConfigMaps, Secrets, projected volumes, probes by HTTP, restarts, init containers, preStop sleep and the grace period are
a kubelet's; kubelet/spec.py tells what differs. Not played: resources, exec and tcp probes, kubectl logs and exec (`pod.containers[0].log` is
the log), several users. Whatever it starts ends with the block, and with this process if that is killed (PR_SET_PDEATHSIG): enter it on the
main thread.

Callers: tests/cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from services.runtime.tasks import spawn, stop
from tests.cluster.client import MERGE
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubelet.cache import Cache
from tests.cluster.kubelet.container import now
from tests.cluster.kubelet.endpoints import EndpointFiles
from tests.cluster.kubelet.pod import Pod
from tests.harness import stores
from tests.harness.wait import eventually

Object = dict[str, Any]
IMAGES: Final[Mapping[str, Sequence[str]]] = {
    **{name: (sys.executable, "-m", f"services.{name}") for name in ("gateway", "balancer", "api")},
    "operator": (sys.executable, "-m", "scalable_operator.main"),
}
"""The last part of an image's name, without `scalable-api-` → what it starts."""
LEASE_S: Final = 40
RENEW_S: Final = 10.0
CAPACITY: Final = {  # as many pods as addresses
    "cpu": "64",
    "memory": "256Gi",
    "pods": "250",
    "ephemeral-storage": "1Ti",
}
ADDRESSES: Final = deque(f"127.{64 + (os.getpid() >> 8) % 128}.{os.getpid() % 256}.{n}" for n in range(1, 255))
"""Free ones, of all nodes of this process; those of another test run on the machine are others."""
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


@contextlib.asynccontextmanager
async def process_node(
    plane: ControlPlane, name: str = "process-node", images: Mapping[str, Sequence[str]] = IMAGES
) -> AsyncIterator[ProcessNode]:
    """`images` adds to or replaces IMAGES."""
    headers = {"Authorization": f"Bearer {plane.token}"}
    trust = ssl.create_default_context(cafile=str(plane.authority))
    with stores.folder("sapi-node-") as folder:
        async with httpx.AsyncClient(
            base_url=plane.url, headers=headers, verify=trust, trust_env=False, timeout=10
        ) as http:
            node = ProcessNode(plane, name, {**IMAGES, **images}, folder, http)
            try:
                await node._open()
                yield node
            finally:
                await node._close()


class ProcessNode:
    """Made by `process_node`."""

    def __init__(
        self,
        plane: ControlPlane,
        name: str,
        images: Mapping[str, Sequence[str]],
        folder: Path,
        http: httpx.AsyncClient,
    ) -> None:
        self.name, self.images, self.folder, self.http = name, images, folder, http
        self.api_url, self.authority = plane.url, plane.authority.read_bytes()
        self.pods: dict[str, Pod] = {}  # by uid, until it is gone
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._gone: set[str] = set()  # the watch may still tell of what has been played through
        self._namespaces: set[str] = set()
        self.endpoints = EndpointFiles(folder / "endpoints", self._service, self.pods.values)
        self._tasks: list[asyncio.Task[None]] = []
        self._pods = Cache(http, "/api/v1/pods", self._told, fieldSelector=f"spec.nodeName={name}")
        self._services = Cache(http, "/api/v1/services", lambda _old, _new: self.changed())
        self._data = {
            kind: Cache(http, f"/api/v1/{kind.lower()}s", lambda _old, _new: None) for kind in ("ConfigMap", "Secret")
        }

    def pod(self, namespace: str, name: str) -> Pod:
        """What runs of it; KeyError."""
        for pod in self.pods.values():
            if (pod.namespace, pod.name) == (namespace, name):
                return pod
        raise KeyError(name)

    # ------------------------------------------------------------------------------------ what pods ask of it

    def lookup(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._data[kind].objects.get((namespace, name))

    def endpoints_file(self, namespace: str, service: str, port: str) -> Path:
        """The file of that Service's endpoints at that port, kept up to date from now on."""
        return self.endpoints.path(namespace, service, port)

    def changed(self) -> None:
        self.endpoints.write()

    def _service(self, namespace: str, name: str) -> Object | None:
        return self._services.objects.get((namespace, name))

    # ---------------------------------------------------------------------------------------------- its own life

    async def _open(self) -> None:
        for part in ("pods", "logs", "endpoints"):
            (self.folder / part).mkdir()
        caches = (self._services, *self._data.values(), self._pods)
        for cache in caches:
            await cache.list()
        await self._register()
        loops = [cache.follow() for cache in caches]
        self._tasks = [spawn(loop, name="watch") for loop in loops] + [spawn(self._renew(), name="lease")]

    async def _register(self) -> None:
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        await self._do("POST", "/api/v1/nodes", {"metadata": {"name": self.name, "labels": labels}})
        ready = {"type": "Ready", "status": "True", "reason": "ProcessNode", "message": "plays kubelet"}
        ready |= {"lastHeartbeatTime": now(), "lastTransitionTime": now()}
        addresses = [{"type": "Hostname", "address": self.name}, {"type": "InternalIP", "address": "127.0.0.1"}]
        status = {"capacity": CAPACITY, "allocatable": CAPACITY, "conditions": [ready], "addresses": addresses}
        await self._do("PATCH", f"/api/v1/nodes/{self.name}/status", {"status": status})
        await self._do("PATCH", f"/api/v1/nodes/{self.name}", {"spec": {"taints": []}})  # not-ready, since its creation
        lease: Object = {"metadata": {"name": self.name}, "spec": self._lease()}
        await eventually(lambda: self._do("POST", LEASES, lease), 10, "the leases' namespace is there")

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            with contextlib.suppress(httpx.HTTPError):
                await self._do("PATCH", f"{LEASES}/{self.name}", {"spec": self._lease()})

    def _lease(self) -> Object:
        moment = now().replace("Z", ".000000Z")
        return {"holderIdentity": self.name, "leaseDurationSeconds": LEASE_S, "renewTime": moment}

    async def _close(self) -> None:
        """Processes first, by id; then what would start them anew on another node; then the node."""
        pods = list(self.pods.values())
        await stop(*self._tasks, *self._lives.values())
        with contextlib.suppress(httpx.HTTPError, AssertionError):
            await self._do("PATCH", f"/api/v1/nodes/{self.name}", {"spec": {"unschedulable": True}})
        now_gone = {"gracePeriodSeconds": 0}
        for namespace in self._namespaces:
            with contextlib.suppress(httpx.HTTPError):
                await self.http.request("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments")
        for pod in pods:
            with contextlib.suppress(httpx.HTTPError):
                path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
                await self.http.request("DELETE", path, json=now_gone)
        for path in (f"/api/v1/nodes/{self.name}", f"{LEASES}/{self.name}"):
            with contextlib.suppress(httpx.HTTPError):
                await self.http.request("DELETE", path)

    async def _do(self, method: str, path: str, body: Object) -> Object:
        kind = {"content-type": MERGE if method == "PATCH" else "application/json"}
        answer = await self.http.request(method, path, headers=kind, content=json.dumps(body))
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        found: Object = answer.json()
        return found

    # ------------------------------------------------------------------------------------------------------ pods

    def _told(self, old: Object | None, new: Object | None) -> None:
        """The watch: a pod was bound here, has changed, or is gone."""
        if old is not None and (new is None or new["metadata"]["uid"] != old["metadata"]["uid"]):
            self._abandon(old["metadata"]["uid"])
        if new is None:
            return
        uid = new["metadata"]["uid"]
        if uid in self.pods:
            self.pods[uid].update(new)
            self.changed()
        elif uid not in self._gone and new.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            self._namespaces.add(new["metadata"]["namespace"])
            pod = self.pods[uid] = Pod(self, new, ADDRESSES.popleft())
            pod.folder.mkdir()
            self._lives[uid] = spawn(self._live(uid, pod), name=f"pod {pod.name}")

    def _abandon(self, uid: str) -> None:
        """Deleted without grace: nothing is left to play through."""
        if life := self._lives.get(uid):
            life.cancel()

    async def _live(self, uid: str, pod: Pod) -> None:
        try:
            await pod.live()
        finally:
            del self.pods[uid], self._lives[uid]
            self._gone.add(uid)
            ADDRESSES.append(pod.ip)
            self.changed()
