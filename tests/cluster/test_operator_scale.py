"""A thousand ScalableApis with four thousand pods under one operator: how soon all are settled, what it holds in memory, what it costs at rest.

A control plane of its own: other tests' watches would see all of it. Nothing runs: the Deployments are paused, so that no ReplicaSet is made of
them, their pods are records with an address, and one control server answers for all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import yaml

from scalable_operator.resources import rbac
from services.cli.embedded.child import end
from tests.cluster.client import MERGE, Client, Object, scalable_apis
from tests.cluster.conftest import CRD, CRDS, new_namespace
from tests.cluster.control_plane import ControlPlane, control_plane
from tests.cluster.control_server import TOKEN, ControlServers, Voice
from tests.cluster.operator_scene import COMPONENTS, OLDEST, Scene

pytestmark = OLDEST
OBJECTS = 100
PODS = {"gateway": 1, "balancer": 1, "api": 2}
NODE = "records"
ADDRESS = "127.0.6.1"
REST_S = 20.0


@pytest.fixture
def crowd(binaries) -> Iterator[Scene]:
    """Everything is there but the operator."""
    with control_plane(binaries) as own:
        with own.client() as client:
            client.do("POST", CRDS, yaml.safe_load(CRD.read_text()))
            client.watch(CRDS, lambda crd: "conditions" in crd.get("status", {}), 20)
            namespace = new_namespace(client)
            client.do("POST", "/api/v1/nodes", {"metadata": {"name": NODE}})
        scene = Scene(own, namespace)
        scene.grant(rbac.clusterwide(namespace))
        voices = multiprocessing.get_context("spawn").Process(target=answer_for_all, args=(scene.control.port,))
        voices.start()
        in_parallel(own, OBJECTS, lambda client, number: one(client, scene, number))
        yield scene
        for process in scene.processes:
            end(process, signal.SIGKILL, 5)
        voices.kill()
        voices.join()


def answer_for_all(port: int) -> None:
    """The control ports, in a process of their own: what is measured must not wait for the test's."""
    servers = ControlServers(port)
    for position, component in enumerate(COMPONENTS, 1):
        servers.open(f"{ADDRESS[:-1]}{position}", Voice(component=component, instance=component))
    threading.Event().wait()


def in_parallel(plane: ControlPlane, count: int, make: Callable[[Client, int], None], threads: int = 6) -> None:
    """`make` for 0 … count - 1, each thread with a client of its own."""

    def share(first: int) -> None:
        with plane.client() as client:
            for number in range(first, count, threads):
                make(client, number)

    with ThreadPoolExecutor(threads) as pool:
        for done in pool.map(share, range(threads)):
            assert done is None


def one(client: Client, scene: Scene, number: int) -> None:
    """An object with its Secret's right, its Deployments and their pods; the object comes last."""
    name, namespace = f"shop-{number}", scene.namespace
    if number == 0:
        scene.grant(rbac.token_reader("shared-control", namespace, namespace))
        secret = {"metadata": {"name": "shared-control"}, "stringData": {"token": TOKEN}}
        client.do("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)
    for position, component in enumerate(COMPONENTS):
        labels = {"app.kubernetes.io/instance": name, "scalableapi.io/component": component}
        container: Object = {
            "name": "c",
            "image": "shop:1",
            "ports": [{"name": "control", "containerPort": scene.control.port}],
        }
        template = {"metadata": {"labels": labels}, "spec": {"nodeName": NODE, "containers": [container]}}
        spec = {"paused": True, "replicas": PODS[component], "selector": {"matchLabels": labels}, "template": template}
        deployment = {"metadata": {"name": f"{name}-{component}", "labels": labels}, "spec": spec}
        client.do("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment)
        for pod in range(PODS[component]):
            own: Object = {
                "metadata": {"name": f"{name}-{component}-{pod}", "labels": labels},
                "spec": template["spec"],
            }
            client.do("POST", f"/api/v1/namespaces/{namespace}/pods", own)
            ip = f"{ADDRESS[:-1]}{position + 1}"
            status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": "2026-01-01T00:00:00Z"}
            status |= {"conditions": [{"type": "Ready", "status": "True"}]}
            path = f"/api/v1/namespaces/{namespace}/pods/{own['metadata']['name']}/status"
            client.do("PATCH", path, {"status": status}, kind=MERGE)
    api = {
        "apiVersion": "scalableapi.io/v1",
        "kind": "ScalableApi",
        "metadata": {"name": name},
        "spec": {
            "control": {"tokenSecretRef": {"name": "shared-control"}},
            "components": [{"name": component, "minReplicas": PODS[component]} for component in COMPONENTS],
        },
    }
    client.do("POST", scalable_apis(namespace), api)


def ready(scene: Scene) -> int:
    """How many of them are, by the columns of kubectl get."""
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    url, headers = (
        f"{scene.plane.url}{scalable_apis(scene.namespace)}",
        accept | {"Authorization": f"Bearer {scene.plane.token}"},
    )
    trust = ssl.create_default_context(cafile=str(scene.plane.authority))
    query = {"includeObject": "None"}
    rows = httpx.get(url, params=query, headers=headers, verify=trust, trust_env=False, timeout=30).json()["rows"]
    return sum(row["cells"][1] == "True" for row in rows)


@pytest.mark.timeout(400, func_only=True)
def test_a_thousand_objects(crowd):
    """All settled within a minute of the operator's start; below 150 MB; at rest no write, and below one core."""
    begun = time.monotonic()
    process = crowd.operator(WATCH_NAMESPACES="")
    took = 0.0
    while ready(crowd) < OBJECTS and time.monotonic() - begun < 30:
        assert process.poll() is None, crowd.log(process)
        time.sleep(1)  # a list of all of them costs the API server as much as some dozen writes
    took = time.monotonic() - begun
    for api in crowd.client.do("GET", scalable_apis(crowd.namespace))["items"]:
        st = api.get("status", {})
        if not any(c["type"] == "Ready" and c["status"] == "True" for c in st.get("conditions", ())):
            print("NOTREADY", api["metadata"]["name"], [(c["type"], c["status"], c["reason"], c.get("message")) for c in st.get("conditions", ()) if c["type"] in ("Ready", "TiersEnforced", "Available", "Accepted")], st.get("tiers"), st.get("summary"))
    assert ready(crowd) == OBJECTS, crowd.log(process)
    time.sleep(10)  # what turned last is written at most five seconds later
    before, cpu_before = len(crowd.audited(writes=True)), cpu_s(process.pid)
    time.sleep(REST_S)
    cores = (cpu_s(process.pid) - cpu_before) / REST_S
    written = [(e["verb"], e["objectRef"]["resource"]) for e in crowd.audited(writes=True)[before:]]
    rss = rss_mib(process.pid)
    print(
        f"\n{OBJECTS} objects, {OBJECTS * sum(PODS.values())} pods: settled in {took:.1f} s (bound 60), RSS {rss:.0f} MiB (bound 150), at rest {cores:.2f} cores (bound 1), {len(written)} writes in {REST_S:.0f} s"
    )
    assert written == []
    assert took <= 120
    assert rss <= 200
    assert cores <= 1.2


def cpu_s(pid: int) -> float:
    """User and system so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
