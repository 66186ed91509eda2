"""The process node under a real control plane: the platform's Deployments run, scale without a lost request, are restarted, taken out, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.runtime.http_client import ControlClient
from services.schema.tiers import BUILT_IN
from tests.cluster.client import Client, Object
from tests.cluster.conftest import kubectl_of, new_namespace
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubelet.pod import Pod
from tests.cluster.process_node import ProcessNode, process_node
from tests.cluster.shop import CONTROL, NAME, PORTS, Shop
from tests.harness.http import client as http_client
from tests.harness.load import OpenLoop
from tests.harness.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
READY_S = 20.0  # three to seven seconds on two idle cores


@dataclass(slots=True)
class Scene:
    """A shop that runs."""

    shop: Shop
    node: ProcessNode
    kubectl: Callable[..., str]
    seconds: float

    def pod(self, told: Object) -> Pod:
        return self.node.pod(self.shop.namespace, told["metadata"]["name"])

    def urls(self) -> list[str]:
        return [f"http://{self.pod(one).ip}:{PORTS['gateway']}" for one in self.shop.ready("gateway")]

    def control(self, pod: Pod) -> ControlClient:
        return ControlClient(f"http://{pod.ip}:{CONTROL}", self.shop.secrets.control_token, timeout_s=5)

    async def settled(self, component: str, count: int) -> float:
        """Seconds until exactly so many pods are there, all of them Ready."""
        begun = time.monotonic()
        await eventually(
            lambda: len(self.shop.ready(component)) == count == len(self.shop.pods(component)),
            READY_S + 15,
            f"{count} × {component} are Ready, and no other",
        )
        return time.monotonic() - begun

    def listed(self, service: str, port: str = "http") -> set[str]:
        """The ids in the endpoints file the balancers and gateways read, but those that drain."""
        entries = self.node.endpoints.of(self.shop.namespace, f"{NAME}-{service}", port)
        return {one.id for one in entries if not one.draining}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(plane: ControlPlane, client: Client, postgres, valkey, tmp_path_factory) -> AsyncIterator[Scene]:
    namespace = new_namespace(client)
    folder = tmp_path_factory.mktemp("shop")
    async with postgres.database() as database, process_node(plane) as node:
        env = {"gateway": {"LIMITER_ENABLED": "false"}}  # the load comes from one address
        shop = Shop(client, namespace, folder, database, valkey.url, env=env)
        begun = time.monotonic()
        shop.install()
        await eventually(lambda: len(shop.ready()) == 6, READY_S, "all pods are Ready", 0.1)
        yield Scene(shop, node, kubectl_of(plane, namespace), time.monotonic() - begun)


async def test_pods_are_ready_and_a_request_passes(scene):
    """Six pods, each its own address; a request goes gateway → balancer → api and names the pod that served it."""
    pods = scene.shop.pods()
    times = ", ".join(f"{p.name} {p.ready_s - p.seen_s:.1f}" for p in map(scene.pod, pods))
    print(f"installed to all Ready: {scene.seconds:.1f} s ({times})")
    assert len({pod["status"]["podIP"] for pod in pods}) == 6
    apis = {pod["metadata"]["name"] for pod in scene.shop.pods("api")}
    for url in scene.urls():
        async with http_client(url) as http:
            answer = await eventually(lambda: _ok(http.get("/api/v1/status")), 10, "the gateway knows its balancers")
            assert answer.headers["x-served-by"] in apis
            assert (await http.get("/api/v1/resources/1")).json()["resource"]["name"] == "Resource 1"
    printed = scene.kubectl("get", "pods", "--no-headers")
    assert [line.split()[1:4] for line in printed.splitlines()] == [["1/1", "Running", "0"]] * 6


async def _ok(asked: Any) -> Any:
    answer = await asked
    answer.raise_for_status()
    return answer


async def test_scaling_loses_no_request(scene):
    """`kubectl scale` up and down while a few thousand requests pass: the new pods get some, the old ones drain, none fails."""
    before = {pod["metadata"]["name"] for pod in scene.shop.pods("api")}
    load = OpenLoop(scene.urls(), rate=150, seconds=50)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(load.run())
        await asyncio.to_thread(scene.kubectl, "scale", f"deployment/{NAME}-api", "--replicas=4")
        up_s = await scene.settled("api", 4)
        await eventually(lambda: len(served(load)) == 4, 15, "all four serve", 0.2)
        await asyncio.to_thread(scene.kubectl, "scale", f"deployment/{NAME}-api", "--replicas=1")
        down_s = await scene.settled("api", 1)
        await asyncio.to_thread(scene.kubectl, "scale", f"deployment/{NAME}-api", "--replicas=2")
        await scene.settled("api", 2)
        await eventually(lambda: len(load.report.samples) > 2000, 30, "2000 requests", 0.2)
        load.stop()
    report = await running
    retries = sum([await retried(scene, pod) for pod in scene.shop.ready("balancer")])
    print(f"2 → 4 in {up_s:.1f} s, 4 → 1 in {down_s:.1f} s under load, {retries:.0f} retries: {report}")
    assert report.failed == []
    assert report.unsent == 0
    assert len(report.ok) == len(report.samples) > 2000
    assert before < served(load)
    assert len(served(load)) >= 4
    assert retries == 0  # drained, not rescued


async def retried(scene: Scene, told: Object) -> float:
    """How many tries a balancer has made after a first one."""
    async with scene.control(scene.pod(told)) as control:
        lines = (await control.metrics()).splitlines()
    counts = [line.split() for line in lines if line.startswith("balancer_retries_total{")]
    return sum(float(count) for name, count in counts if "try_timeout" not in name)  # a slow machine is no lost process


def served(load: OpenLoop) -> set[str]:
    return {sample.headers.get("x-served-by", "") for sample in load.report.samples if sample.status == 200}


async def test_a_killed_process_is_restarted(scene):
    """SIGKILL to a balancer: its pod stays, is not Ready for a moment, runs again with a restart counted; its last end is told."""
    told = scene.shop.ready("balancer")[0]
    pod = scene.pod(told)
    process = pod.containers[0].process
    os.kill(process.pid, signal.SIGKILL)
    begun = time.monotonic()
    await eventually(lambda: pod.containers[0].restarts == 1 and pod.ready, READY_S, "it runs again")
    print(f"killed to Ready: {time.monotonic() - begun:.1f} s")
    await scene.settled("balancer", 2)
    (status,) = next(
        one["status"]["containerStatuses"] for one in scene.shop.pods("balancer") if one["metadata"]["name"] == pod.name
    )
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 137
    assert "running" in status["state"]


async def test_a_failed_readiness_probe_takes_the_pod_out(scene):
    """A drain by request turns /readyz red: not Ready in the API, out of the endpoints, the same process; and back."""
    pod = scene.pod(scene.shop.ready("api")[0])
    pid = pod.containers[0].process.pid
    async with scene.control(pod) as control:
        await control.drain(on=True)
        await eventually(lambda: len(scene.shop.ready("api")) == 1, 10, "it is not Ready")
        assert pod.name not in scene.listed("api")
        assert pod.name in scene.listed("api-control", "control")
        await control.drain(on=False)
    await scene.settled("api", 2)
    assert pod.name in scene.listed("api")
    assert pod.containers[0].process.pid == pid
    assert pod.containers[0].restarts == 0


async def test_an_edit_of_a_config_map_reaches_the_file(scene):
    """The file that TIERS_FILE names changes at once with its neighbours, and the gateway enforces the new revision."""
    pod = scene.pod(scene.shop.ready("gateway")[0])
    path = pod.volume("tiers") / "tiers.yaml"
    folder = (pod.volume("tiers") / "..data").resolve()
    scene.shop.use_tiers(7, BUILT_IN.spec)
    begun = time.monotonic()
    await eventually(lambda: "revision: 7" in path.read_text(), 5, "the file has it")
    print(f"edit to file: {time.monotonic() - begun:.1f} s")
    assert (pod.volume("tiers") / "..data").resolve() != folder
    async with scene.control(pod) as control:
        await eventually(lambda: _revision(control, 7), 5, "the gateway enforces it")


async def _revision(control: ControlClient, wanted: int) -> bool:
    tier = (await control.snapshot()).tier
    return tier is not None and tier.revision == wanted


async def test_a_pod_is_ended_by_force_where_it_does_not_go(scene):
    """A stopped process cannot drain: it is killed when the grace period is over, and the pod is gone, replaced."""
    pod = scene.pod(scene.shop.ready("api")[0])
    process = pod.containers[0].process
    os.kill(process.pid, signal.SIGSTOP)
    begun = time.monotonic()
    path = f"/api/v1/namespaces/{scene.shop.namespace}/pods/{pod.name}"
    scene.shop.client.do("DELETE", path, gracePeriodSeconds=2)
    await eventually(lambda: scene.shop.client.ask("GET", path).status_code == 404, 15, "it is gone")
    assert time.monotonic() - begun >= 2
    assert process.poll() == -signal.SIGKILL
    await scene.settled("api", 2)


async def test_a_crash_loop_backs_off(scene):
    """A pod that cannot start is restarted after pauses that grow, and says so; one without its ConfigMap waits."""
    container = {
        "name": "api",
        "image": "x/scalable-api-balancer:1",
        "env": [{"name": "API_SERVERS", "value": "nonsense"}],
    }
    waits = {**container, "envFrom": [{"configMapRef": {"name": "later"}}]}
    pods = f"/api/v1/namespaces/{scene.shop.namespace}/pods"
    for name, one in (("crashes", container), ("waits", waits)):
        scene.shop.client.do("POST", pods, {"metadata": {"name": name}, "spec": {"containers": [one]}})

    def state(name: str) -> Object:
        found: Object = scene.shop.client.do("GET", f"{pods}/{name}")["status"]["containerStatuses"][0]
        return found

    await eventually(lambda: state("crashes")["state"]["waiting"]["reason"] == "CrashLoopBackOff", 15, "it backs off")
    assert state("crashes")["lastState"]["terminated"]["exitCode"] == 1
    await eventually(
        lambda: state("waits")["state"]["waiting"]["reason"] == "CreateContainerConfigError", 10, "it waits"
    )
    config = {
        "metadata": {"name": "later"},
        "data": {"CONTROL_TOKEN": "a-token-of-some-length", "SCALABLE_API_SERVERS": "http://127.0.0.1:9"},
    }
    scene.shop.client.do("POST", pods.replace("/pods", "/configmaps"), config)
    await eventually(lambda: "running" in state("waits")["state"], 10, "what it waited for is there")
    for name in ("crashes", "waits"):
        scene.shop.client.do("DELETE", f"{pods}/{name}", gracePeriodSeconds=1)
    for name in ("crashes", "waits"):
        await eventually(lambda: scene.shop.client.ask("GET", f"{pods}/{name}").status_code == 404, 15, "it is gone")


async def test_a_pod_acts_with_its_own_account(scene, plane):
    """What asks by the mounted account is its ServiceAccount, not the administrator; init containers come first and share its volumes."""
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    write = ["python", "-c", "open('/scratch/said', 'w').write('before')"]
    ask = f"{plane.programs['kubectl']} auth whoami -o jsonpath={{.status.userInfo.username}} && cat /scratch/said"
    spec = {
        "restartPolicy": "Never",
        "initContainers": [{"name": "first", "image": "x", "command": write, "volumeMounts": mounts}],
        "containers": [{"name": "asks", "image": "x", "command": ["sh", "-c"], "args": [ask], "volumeMounts": mounts}],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }
    namespace, api = scene.shop.namespace, scene.shop.client
    api.do("POST", f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": "asks"}, "spec": spec})
    path = f"/api/v1/namespaces/{namespace}/pods/asks"
    await eventually(lambda: api.do("GET", path)["status"]["phase"] in ("Succeeded", "Failed"), 15, "it has ended")
    told = api.do("GET", path)
    said = scene.pod(told).containers[0].log.read_text()
    assert (told["status"]["phase"], said) == ("Succeeded", f"system:serviceaccount:{namespace}:defaultbefore")
    assert told["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    api.do("DELETE", path, gracePeriodSeconds=1)
    await eventually(lambda: api.ask("GET", path).status_code == 404, 10, "it is gone")


async def test_the_hook_before_the_end_is_waited_for(scene):
    """preStop's sleep passes, still Ready, before SIGTERM; both count in the grace period."""
    hook = {"preStop": {"sleep": {"seconds": 1}}}
    container = {"name": "c", "image": "x", "command": ["sleep", "60"], "lifecycle": hook}
    namespace, api = scene.shop.namespace, scene.shop.client
    path = f"/api/v1/namespaces/{namespace}/pods/hooked"
    made = {"metadata": {"name": "hooked"}, "spec": {"containers": [container]}}
    pod = scene.pod(await _running(api, path, made))
    begun = time.monotonic()
    api.do("DELETE", path, gracePeriodSeconds=20)
    await eventually(lambda: pod.terminating, 5, "it knows")
    assert pod.ready
    await eventually(lambda: api.ask("GET", path).status_code == 404, 10, "it is gone")
    assert 1 <= time.monotonic() - begun < 10
    assert pod.containers[0].process.returncode == -signal.SIGTERM


async def test_a_late_word_of_the_watch_revives_no_pod(scene):
    """The watch is behind: what it tells of a pod that has been played through to its end starts nothing, and ends nothing."""
    namespace, api = scene.shop.namespace, scene.shop.client
    path = f"/api/v1/namespaces/{namespace}/pods/late"
    container = {"name": "c", "image": "x", "command": ["sleep", "60"]}
    pod = scene.pod(await _running(api, path, {"metadata": {"name": "late"}, "spec": {"containers": [container]}}))
    api.do("DELETE", path, gracePeriodSeconds=1)
    await eventually(lambda: pod not in scene.node.pods.values(), 10, "it is gone")
    scene.node._told(pod.object, pod.object)
    assert pod.name not in {one.name for one in scene.node.pods.values()}
    assert pod.containers[0].process.returncode == -signal.SIGTERM


async def _running(api: Client, path: str, made: Object) -> Object:
    api.do("POST", path.rpartition("/")[0], made)
    await eventually(lambda: api.do("GET", path)["status"]["phase"] == "Running", 10, "it runs")
    return api.do("GET", path)


async def test_nothing_is_left(plane, client, tmp_path, postgres, valkey):
    """After the block no process of it runs, its node, pods and folder are gone, whatever state the pods were in."""
    async with postgres.database() as database, process_node(plane, "short-lived") as node:
        replicas = {"gateway": 1, "balancer": 2, "api": 1}
        shop = Shop(client, new_namespace(client), tmp_path, database, valkey.url, replicas=replicas)
        client.do(
            "PATCH",
            "/api/v1/nodes/process-node",
            {"spec": {"unschedulable": True}},
            kind="application/merge-patch+json",
        )
        shop.install()
        await eventually(lambda: any(pod.ready for pod in node.pods.values()), READY_S, "one is Ready")
        processes = [one.process for pod in node.pods.values() for one in pod.containers if one.process]
        os.kill(processes[0].pid, signal.SIGSTOP)
        folder = node.folder
    assert len(processes) >= 3
    assert [process.poll() for process in processes] == [-signal.SIGKILL] * len(processes)
    assert not folder.exists()
    assert mentioning(str(folder)) == []
    assert client.ask("GET", "/api/v1/nodes/short-lived").status_code == 404
    await eventually(lambda: shop.pods() == [], 10, "no pod is left")


def mentioning(text: str) -> list[int]:
    """Ids of the processes whose environment or command line names it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text in (process / "environ").read_text(errors="replace") + (process / "cmdline").read_text():
                found.append(int(process.name))
    return found
