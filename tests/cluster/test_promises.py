"""Rung 2: the operator as a pod, our gateways, balancers and apis as pods, and what operator.md promises of them together; each figure is printed.

One scene for the module, in this order: later tests find the fleet as the earlier ones left it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
import yaml

from scalable_operator.resources import rbac
from services.cli.commands.explain_scaling import record_of
from services.core.autoscale import replay
from services.runtime.http_client import ControlClient
from services.schema.status import Status
from services.schema.tiers import parse
from tests.cluster.client import MERGE, Client, Object, scalable_apis
from tests.cluster.conftest import kubectl_of, new_namespace
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operator_scene import OLDEST, PATHS
from tests.cluster.process_node import ProcessNode, process_node
from tests.cluster.shop import CONTROL, NAME, PORTS, Shop
from tests.harness.load import OpenLoop, Report
from tests.harness.wait import eventually
from tests.integration.upstreams import OK, Upstream

pytestmark = [OLDEST, pytest.mark.asyncio(loop_scope="module")]
READY_S = 30.0
PLENTY = 1_000_000  # the load comes from one address: no test here but those of the tiers meets a limit
BEHAVIOR = {
    "stableWindow": "6s",
    "panic": {"window": "2s"},
    "scaleDown": {"stabilizationWindow": "0s", "policies": [{"type": "Pods", "value": 2, "period": "3s"}]},
}


def components(target: int) -> list[Object]:
    """Two gateways and two balancers stay; two to five apis, each for `target` requests a second."""
    fixed = {"minReplicas": 2, "maxReplicas": 2}
    metrics = [{"name": "rps", "type": "RPS", "target": target}]
    api = {"name": "api", "minReplicas": 2, "maxReplicas": 5, "metrics": metrics, "behavior": BEHAVIOR}
    return [{"name": "gateway", **fixed}, {"name": "balancer", **fixed}, api]


def tiers(quota: int, **rotation: Any) -> Object:
    anonymous = {
        "name": "anonymous",
        "criticality": "sheddable",
        "policies": [{"name": "anonymous", "quota": quota, "window": 60}],
    }
    return {"definitions": [anonymous], "anonymousTier": "anonymous", "defaultTier": "anonymous", "rotation": rotation}


@dataclass(slots=True)
class Scene:
    """A shop under an operator."""

    shop: Shop
    node: ProcessNode
    kubectl: Callable[..., str]
    external: Upstream

    @property
    def object(self) -> Object:
        return self.shop.client.do("GET", scalable_apis(self.shop.namespace, NAME))

    @property
    def status(self) -> Object:
        found: Object = self.object.get("status") or {}
        return found

    def condition(self, kind: str) -> tuple[str, str]:
        found: Object = next((c for c in self.status.get("conditions", ()) if c["type"] == kind), {})
        return found.get("status", ""), found.get("reason", "")

    def component(self, name: str) -> Object:
        found: Object = next(c for c in self.status["components"] if c["name"] == name)
        return found

    def change(self, spec: Object) -> float:
        """Now."""
        self.shop.client.do(
            "PATCH", scalable_apis(self.shop.namespace, NAME), {"spec": spec}, kind=MERGE, fieldManager="user"
        )
        return time.monotonic()

    def replicas(self, component: str) -> int:
        path = f"/apis/apps/v1/namespaces/{self.shop.namespace}/deployments/{NAME}-{component}"
        found: int = self.shop.client.do("GET", path)["spec"]["replicas"]
        return found

    def events(self, reason: str) -> list[str]:
        path = f"/apis/events.k8s.io/v1/namespaces/{self.shop.namespace}/events"
        return [e.get("note", "") for e in self.shop.client.do("GET", path)["items"] if e["reason"] == reason]

    def urls(self) -> list[str]:
        pods = [self.node.pod(self.shop.namespace, one["metadata"]["name"]) for one in self.shop.ready("gateway")]
        return [f"http://{pod.ip}:{PORTS['gateway']}" for pod in pods]

    async def enforces(self, *components: str) -> None:
        """Every ready pod of theirs says that it enforces the status' document; a pod renews what it says once a second."""
        wanted = {self.status["tiers"]["activeHash"]}

        async def said() -> bool:
            found = [hash_ for component in components for _, hash_ in await self.enforced(component)]
            return len(found) == 2 * len(components) and set(found) == wanted

        await eventually(said, 5, f"{components} enforce {wanted}")

    async def enforced(self, component: str) -> list[tuple[int, str]]:
        """(revision, hash) of every ready pod's document, asked of the pod itself."""
        found = []
        for told in self.shop.ready(component):
            url = f"http://{told['status']['podIP']}:{CONTROL}"
            async with ControlClient(url, self.shop.secrets.control_token, timeout_s=5) as control:
                tier = (await control.snapshot()).tier
                assert tier is not None
                found.append((tier.revision, tier.hash))
        return found


async def until(check: Callable[[], Any], within_s: float, what: str) -> float:
    """Seconds until it is true; looks go on in a thread, so that the node and the load are not held up."""
    begun = time.monotonic()
    await eventually(lambda: asyncio.to_thread(check), within_s, what)
    return time.monotonic() - begun


def operator(namespace: str) -> Object:
    """The operator's Deployment, watching one namespace."""
    container = {
        "name": "operator",
        "image": "ghcr.io/scalable-api/scalable-api-operator:1.0.0",
        "ports": [{"name": "control", "containerPort": CONTROL}],
        "env": [
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "WATCH_NAMESPACES", "value": namespace},
        ],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "control"}, "periodSeconds": 1},
    }
    labels = {"app.kubernetes.io/name": "scalable-api-operator"}
    pod = {"serviceAccountName": rbac.ACCOUNT, "terminationGracePeriodSeconds": 30, "containers": [container]}
    return {
        "metadata": {"name": "scalable-api-operator", "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(plane: ControlPlane, client: Client, postgres, valkey, tmp_path_factory) -> AsyncIterator[Scene]:
    """Everything is installed and at rest; the resource is not there yet."""
    namespace = new_namespace(client)
    for one in (*rbac.namespaced(namespace, namespace), *rbac.token_reader(f"{NAME}-control", namespace, namespace)):
        client.do("POST", PATHS[one["kind"]].format(namespace), one)
    async with (
        postgres.database() as database,
        Upstream("external") as external,
        process_node(plane, "promises") as node,
    ):
        env = {"api": {"EXTERNAL_URL": f"http://127.0.0.1:{external.port}/"}}
        shop = Shop(client, namespace, tmp_path_factory.mktemp("shop"), database, valkey.url, env=env)
        begun = time.monotonic()
        shop.install()
        shop.apply("apis/apps/v1", "deployments", operator(namespace))
        await eventually(lambda: len(shop.ready()) == 6, READY_S, "all pods are Ready", 0.1)
        print(f"\ninstalled → six pods and the operator's process: {time.monotonic() - begun:.1f} s")
        yield Scene(shop, node, kubectl_of(plane, namespace), external)


async def test_apply_is_ready(scene):
    """apply → Ready within thirty seconds, every pod acknowledged its tiers, kubectl shows the columns."""
    spec = {"components": components(30), "tiers": tiers(PLENTY)}
    manifest = {"apiVersion": "scalableapi.io/v1", "kind": "ScalableApi", "metadata": {"name": NAME}, "spec": spec}
    begun = time.monotonic()
    await asyncio.to_thread(scene.kubectl, "apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    await until(lambda: scene.condition("Ready") == ("True", "AllComponentsReady"), READY_S, "Ready")
    print(f"\napply → Ready: {time.monotonic() - begun:.1f} s (bound 30)")
    header, row = (await asyncio.to_thread(scene.kubectl, "get", "sapi", "-o", "wide")).splitlines()
    print(f"{header}\n{row}")
    assert row.split()[:7] == [NAME, "True", "Auto", "AllComponentsReady", "2/2", "2/2", "2/2"]
    assert (await asyncio.to_thread(lambda: scene.status))["tiers"]["pods"] == {"total": 4, "acked": 4, "stale": []}
    await scene.enforces("gateway", "balancer")


@pytest.mark.timeout(300)
async def test_scaling_follows_the_load_and_loses_no_request(scene, promise):
    """A step to four times the target is answered within three seconds and recomputes; 20 000 requests pass while apis come and go, none fails."""
    load = OpenLoop(scene.urls(), rate=250, seconds=120)
    seen: list[float] = []
    async with asyncio.TaskGroup() as group:
        begun = time.monotonic()
        running = group.create_task(load.run())
        await until(lambda: scene.replicas("api") > 2, 20, "more apis are asked for")
        seen.append(time.monotonic() - begun)
        await until(lambda: scene.component("api")["lastDecision"]["direction"] == "Up", 10, "the decision is told")
        status = Status.model_validate(scene.status)
        await until(lambda: len(scene.shop.ready("api")) == 5, 30, "five apis are Ready")
        seen.append(time.monotonic() - begun)
        await until(lambda: len(load.report.samples) > 5000, 60, "all five had their share")
        scene.change({"components": components(200)})
        await until(lambda: len(scene.shop.pods("api")) == 2, 60, "three apis are gone")
        seen.append(time.monotonic() - begun)
        await until(lambda: len(load.report.samples) >= 20_000, 120, "20 000 requests")
        load.stop()
    report: Report = await running
    print(f"\nfive apis at {seen[1]:.1f} s, two again at {seen[2]:.1f} s")
    print(report)
    promise("load step → /scale written", seen[0])
    promise("failed requests of a decrease", len(report.failed))
    assert len(report.ok) == len(report.samples) >= 20_000
    assert len({sample.headers.get("x-served-by") for sample in report.samples}) >= 5
    last = next(c for c in status.components if c.name == "api").last_decision
    assert last is not None
    assert replay(record_of(last)).final == last.final > 2
    assert scene.events("ScaledDown")
    assert not scene.events("DrainTimedOut")
    assert not scene.events("VictimMissed")


async def test_a_tier_edited_is_acknowledged_by_all(scene, promise):
    """`kubectl patch`: every gateway and balancer enforces it within five seconds, and TiersEnforced is True again only then."""
    before = scene.status["tiers"]["activeRevision"]
    patch = json.dumps({"spec": {"tiers": tiers(PLENTY - 1)}})
    begun = time.monotonic()
    await asyncio.to_thread(scene.kubectl, "patch", "sapi", NAME, "--type=merge", "-p", patch)

    def acked() -> bool:
        status = scene.status
        return bool(
            status["tiers"]["activeRevision"] == before + 1 and status["tiers"]["pods"]["acked"] == 4
        ) and scene.condition("TiersEnforced") == ("True", "AllPodsAcked")

    await until(acked, 20, "all have it")
    took = time.monotonic() - begun
    await scene.enforces("gateway", "balancer")
    promise("tiers changed → all pods acked", took)


async def test_a_refused_document_stops_nothing(scene):
    """A quota below a route's cost: Accepted=False names the field, the old document stays in force and requests pass; the fix is accepted."""
    before = scene.status["tiers"]
    scene.change({"tiers": tiers(5)})
    await until(lambda: scene.condition("Accepted") == ("False", "Invalid"), 15, "it is refused")
    message = next(c["message"] for c in scene.status["conditions"] if c["type"] == "Accepted")
    print(f"\n{message}")
    assert "spec.tiers" in message
    assert "quota 5" in message
    report = await OpenLoop(scene.urls(), rate=50, seconds=4).run()
    assert report.statuses == {200: 200}
    assert scene.status["tiers"]["activeHash"] == before["activeHash"]
    assert scene.condition("TiersEnforced")[0] == "True"
    scene.change({"tiers": tiers(PLENTY - 1)})
    await until(lambda: scene.condition("Accepted")[0] == "True", 15, "the fix is accepted")


@pytest.mark.timeout(180)
async def test_a_canary_that_refuses_too_much_comes_back(scene):
    """A limit far too low goes to one gateway of two, refuses there, and is taken back by itself; both end on the old document, as a new revision."""
    before = scene.status["tiers"]
    canary = {"podsPercent": 50, "hold": "60s", "minRequests": 50}
    load = OpenLoop(scene.urls(), rate=60, seconds=100)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(load.run())
        begun = scene.change({"tiers": tiers(20, strategy="Canary", canary=canary)})
        await until(lambda: scene.status["tiers"]["phase"] == "Canary", 15, "the canary enforces it")
        pods = scene.status["tiers"]["canary"]["pods"]
        await until(lambda: scene.status["tiers"]["phase"] == "RolledBack", 60, "it is taken back")
        took = time.monotonic() - begun
        load.stop()
    report: Report = await running
    after = scene.status["tiers"]
    print(f"\ncanary {pods} rolled back after {took:.1f} s; {report}")
    assert len(pods) == 1
    assert report.failed == []
    assert 0 < report.statuses[429] < len(report.samples) / 2
    assert after["activeHash"] != after["failedHash"] != ""
    assert scene.condition("TiersEnforced") == ("False", "RolledBack")
    path = f"/api/v1/namespaces/{scene.shop.namespace}/configmaps/{NAME}-tiers"
    document = parse(scene.shop.client.do("GET", path)["data"]["tiers.yaml"].encode())
    assert document.spec.tiers[0].policies[0].quota == PLENTY - 1
    assert after["activeRevision"] > before["activeRevision"]
    await scene.enforces("gateway")
    assert scene.events("TiersRolledBack")
    scene.change({"tiers": tiers(PLENTY, strategy="Immediate")})
    await until(lambda: scene.condition("TiersEnforced")[0] == "True", 20, "another document is tried")


@pytest.mark.timeout(180)
async def test_a_breaker_is_in_the_status_and_closes_again(scene, promise):
    """The apis' dependency fails: its breaker is in status.circuits and in the column within two seconds of opening; it closes after recovery; Events for both."""
    scene.external.mode = "500"
    load = OpenLoop(scene.urls(), rate=20, seconds=150, path="/api/v1/external")
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        await eventually(lambda: any(s.status == 503 for s in load.report.samples), 30, "it is open somewhere")
        begun = time.monotonic()
        await until(lambda: scene.status["circuits"]["open"] >= 1, 15, "it is in the status")
        took = time.monotonic() - begun
        items = scene.status["circuits"]["items"]
        row = await asyncio.to_thread(scene.kubectl, "get", "sapi", NAME, "--no-headers")
        scene.external.mode = OK
        closed = await until(lambda: scene.condition("CircuitsClosed")[0] == "True", 100, "it is closed")
        load.stop()
    print(f"\nclosed {closed:.1f} s after recovery; {row.strip()}")
    promise("breaker open → status", took)
    assert [(item["component"], item["name"], item["state"]) for item in items] == [("api", "external-service", "Open")]
    assert "1 open" in row
    assert scene.events("CircuitOpened")
    await until(lambda: scene.events("CircuitClosed"), 20, "it stayed closed for ten seconds")
