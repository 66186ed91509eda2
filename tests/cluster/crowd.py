"""A thousand ScalableApis and their four thousand pods, of which nothing runs but the control ports.

One of each kind is made through the API server; the others are copies of what that stored, put into etcd: the API
server would take a minute for twelve thousand writes, and it is not what is measured. The control ports are a process
of their own (`python -m tests.cluster.crowd PORT COUNT`), so that its work is not counted as the operator's; each pod
has its own address, and enforces the document it was given last.

Caller: test_operator_scale.py.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import sys
import uuid
from collections.abc import Iterator
from typing import Final

import httpx
from aiohttp import web

from tests.cluster.client import MERGE, Client, Object, scalable_apis
from tests.cluster.control_plane import ControlPlane
from tests.cluster.control_server import TOKEN, Voice

PODS: Final = {"gateway": 1, "balancer": 1, "api": 2}
"""By component, of each object."""
PER_OBJECT: Final = sum(PODS.values())
BATCH: Final = 100
NODE: Final = "records"
VOICES: Final = web.AppKey("voices", dict[str, Voice])


def address(number: int) -> str:
    """Of the pod of that number; 127.32.0.0/12 is nobody else's."""
    return f"127.{32 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"


def populate(plane: ControlPlane, namespace: str, objects: int, port: int) -> None:
    """Everything but an operator."""
    with plane.client() as client:
        secret = {"metadata": {"name": "shared-control"}, "stringData": {"token": TOKEN}}
        client.do("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)
        client.do("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "default"}})
        client.do("POST", "/api/v1/nodes", {"metadata": {"name": NODE}})
        _first(client, namespace, port)
        originals = list(_originals(client, namespace))
    with httpx.Client(base_url=plane.etcd, trust_env=False, timeout=30) as etcd:
        for batch in _batches(_copies(originals, objects)):
            puts = [{"requestPut": {"key": _base64(key), "value": _base64(json.dumps(made))}} for key, made in batch]
            etcd.post("/v3/kv/txn", json={"success": puts}).raise_for_status()


def _first(client: Client, namespace: str, port: int) -> None:
    """Object, Deployments and pods of number 0. The Deployments are as after their rollout."""
    for component, count in PODS.items():
        labels = {"app.kubernetes.io/instance": "shop-0", "scalableapi.io/component": component}
        ports = [{"name": "control", "containerPort": port}]
        pod: Object = {"nodeName": NODE, "containers": [{"name": component, "image": "shop:1", "ports": ports}]}
        template = {"metadata": {"labels": labels}, "spec": pod}
        spec = {"replicas": count, "selector": {"matchLabels": labels}, "template": template}
        body = {"metadata": {"name": f"shop-0-{component}", "labels": labels}, "spec": spec}
        client.do("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
        for number in range(count):
            path = f"/api/v1/namespaces/{namespace}/pods"
            name = f"shop-0-{component}-{number}"
            client.do("POST", path, {"metadata": {"name": name, "labels": labels}, "spec": pod})
            ready = {"phase": "Running", "podIP": "127.0.6.1", "podIPs": [{"ip": "127.0.6.1"}]}
            ready |= {"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Ready", "status": "True"}]}
            client.do("PATCH", f"{path}/{name}/status", {"status": ready}, kind=MERGE)
    components = [{"name": component, "minReplicas": count} for component, count in PODS.items()]
    spec = {"control": {"tokenSecretRef": {"name": "shared-control"}}, "components": components}
    api = {"apiVersion": "scalableapi.io/v1", "kind": "ScalableApi", "metadata": {"name": "shop-0"}, "spec": spec}
    client.do("POST", scalable_apis(namespace), api)


def _originals(client: Client, namespace: str) -> Iterator[tuple[str, Object]]:
    """Number 0 as it is stored: its keys in etcd's order of registries, and its values. The object goes last."""
    kinds = (
        ("pods", f"/api/v1/namespaces/{namespace}/pods", "v1", "Pod"),
        ("deployments", f"/apis/apps/v1/namespaces/{namespace}/deployments", "apps/v1", "Deployment"),
        ("scalableapi.io/scalableapis", scalable_apis(namespace), "scalableapi.io/v1", "ScalableApi"),
    )
    for registry, path, version, kind in kinds:
        for found in client.do("GET", path)["items"]:
            del found["metadata"]["resourceVersion"]
            key = f"/registry/{registry}/{namespace}/{found['metadata']['name']}"
            yield key, {"apiVersion": version, "kind": kind} | found


def _copies(originals: list[tuple[str, Object]], objects: int) -> Iterator[tuple[str, Object]]:
    """Numbers 1 to objects - 1 as they would be stored; and number 0's pods once more, each with its own address."""
    for number in range(objects):
        addresses = iter(range(number * PER_OBJECT, (number + 1) * PER_OBJECT))
        for key, original in originals:
            made = json.loads(json.dumps(original).replace("shop-0", f"shop-{number}"))
            if number:
                made["metadata"]["uid"] = str(uuid.uuid4())
            if made["kind"] == "Pod":
                made["status"]["podIP"] = address(next(addresses))
                made["status"]["podIPs"] = [{"ip": made["status"]["podIP"]}]
            elif number == 0:
                continue
            yield key.replace("shop-0", f"shop-{number}"), made


def _batches(copies: Iterator[tuple[str, Object]]) -> Iterator[list[tuple[str, Object]]]:
    """As many as etcd takes at once."""
    while batch := list(itertools.islice(copies, BATCH)):
        yield batch


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# ------------------------------------------------------------------------------------------------------ control ports


async def _get(request: web.Request) -> web.Response:
    return web.Response(body=_voice(request).snapshot(), content_type="application/json")


async def _told(request: web.Request) -> web.Response:
    epoch = int(request.headers["X-Controller-Epoch"])
    code, said = _voice(request).told(request.path, await request.read(), epoch)
    return web.json_response(said, status=code)


def _voice(request: web.Request) -> Voice:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        raise web.HTTPUnauthorized
    transport = request.transport
    own: str = transport.get_extra_info("sockname")[0] if transport else ""
    return request.app[VOICES][own]


async def _serve(port: int, count: int) -> None:
    """`count` addresses, until ended; says so on standard output."""
    addresses = [address(number) for number in range(count)]
    components = sorted(itertools.chain.from_iterable([name] * pods for name, pods in PODS.items()))
    app = web.Application()
    app[VOICES] = {own: Voice(component, own) for own, component in zip(addresses, itertools.cycle(components))}
    app.router.add_get("/control/v1/snapshot", _get)
    app.router.add_put("/control/v1/tiers", _told)
    app.router.add_post("/control/v1/drain", _told)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    await asyncio.get_running_loop().create_server(runner.server, addresses, port)
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
