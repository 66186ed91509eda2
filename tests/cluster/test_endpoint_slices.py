"""EndpointSlices of a real control plane, read with a pod's rights: real conditions, the API server's own ends of a watch, its refusals.

Nobody listens at these addresses: the API server refuses loopback ones in slices, so what is tested here is the list and the watch.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.runtime import endpoint_slices
from services.runtime.discovery import Discovery, make_source
from services.runtime.endpoint_slices import SliceSource
from services.runtime.endpoints import EndpointInfo
from services.runtime.kube_api import Cluster
from services.runtime.tasks import spawn, stop
from tests.cluster.client import MERGE, Client, Object
from tests.cluster.fault_proxy import Cut, Delay, Refuse, Silence, Twice, fault_proxy
from tests.harness.wait import eventually

RULES = [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]}]
PORTS = [{"name": "http", "port": 80, "targetPort": 3001}, {"name": "control", "port": 9180}]


def pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


@pytest.fixture
def account(client: Client, namespace: str, plane, tmp_path: Path, monkeypatch) -> Path:
    """The folder the kubelet would mount for the namespace's ServiceAccount `default`, which may do nothing yet."""
    ask = {"spec": {"expirationSeconds": 3600}}
    answer = client.do("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token", ask)
    (tmp_path / "token").write_text(answer["status"]["token"])
    shutil.copy(plane.authority, tmp_path / "ca.crt")
    monkeypatch.setattr(endpoint_slices, "in_cluster", lambda: Cluster(plane.url, tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def _node(client: Client) -> Iterator[None]:
    """The node of the pods: the slices' controller wants one of that name, but nobody plays it, and nothing may be scheduled there."""
    client.do("POST", "/api/v1/nodes", {"metadata": {"name": "nowhere"}, "spec": {"unschedulable": True}})
    yield
    client.do("DELETE", "/api/v1/nodes/nowhere")


def allow(client: Client, namespace: str) -> None:
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    client.do("POST", f"{rbac}/roles", {"metadata": {"name": "discovery"}, "rules": RULES})
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "discovery"}
    client.do(
        "POST", f"{rbac}/rolebindings", {"metadata": {"name": "discovery"}, "subjects": [subject], "roleRef": role}
    )


def service(client: Client, namespace: str, **spec: object) -> None:
    wanted = {"selector": {"app": "api"}, "ports": PORTS} | spec
    client.do("POST", f"/api/v1/namespaces/{namespace}/services", {"metadata": {"name": "api"}, "spec": wanted})


def run_pod(client: Client, namespace: str, name: str, address: str) -> None:
    """As if the node had started it."""
    meta: Object = {"name": name, "labels": {"app": "api"}}
    spec = {"nodeName": "nowhere", "containers": [{"name": "api", "image": "api:1"}]}
    client.do("POST", pods(namespace), {"metadata": meta, "spec": spec})
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    client.do("PATCH", f"{pods(namespace)}/{name}/status", {"status": status}, kind=MERGE)
    says_ready(client, namespace, name, ready=True)


def says_ready(client: Client, namespace: str, name: str, *, ready: bool) -> None:
    status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    client.do("PATCH", f"{pods(namespace)}/{name}/status", {"status": status}, kind=MERGE)


@contextlib.asynccontextmanager
async def following(namespace: str, port: str | int = "http") -> AsyncIterator[Discovery]:
    found = Discovery([f"k8s:{namespace}/api:{port}"], lambda _found: None)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


def ids(found: Discovery) -> list[str]:
    return sorted(one.id for one in found.current)


def asked(plane, namespace: str, verb: str) -> list[Object]:
    """What the pods' account asked of the namespace's slices, as audited when it was over."""
    return [
        event
        for event in plane.audited()
        if event["verb"] == verb
        and event.get("objectRef", {}).get("resource") == "endpointslices"
        and event["objectRef"].get("namespace") == namespace
        and event["user"]["username"] == f"system:serviceaccount:{namespace}:default"
        and event["stage"] == "ResponseComplete"
    ]


async def test_pods_come_get_unready_and_terminate(client, namespace, account):
    """The controller's slices, event by event: ready pods are there by name, unready ones only where none is ready and if they were once,
    terminating ones drain, then are gone.
    """
    allow(client, namespace)
    service(client, namespace)
    run_pod(client, namespace, "api-1", "10.1.0.1")
    async with following(namespace) as found:
        await eventually(lambda: ids(found) == ["api-1"], 10, "the first pod is there")
        assert found.current == (EndpointInfo("api-1", "10.1.0.1", 3001, "http://10.1.0.1:9180"),)
        run_pod(client, namespace, "api-2", "10.1.0.2")
        await eventually(lambda: ids(found) == ["api-1", "api-2"], 10, "the second is")
        says_ready(client, namespace, "api-1", ready=False)
        await eventually(lambda: ids(found) == ["api-2"], 10, "an unready one is not")
        client.do("DELETE", f"{pods(namespace)}/api-2", gracePeriodSeconds=30)
        states = [("api-2", True), ("api-1", False)]
        await eventually(lambda: [(e.id, e.draining) for e in found.current] == states, 10, "a terminating one drains")
        says_ready(client, namespace, "api-2", ready=False)
        client.do("DELETE", f"{pods(namespace)}/api-2", gracePeriodSeconds=0)
        await eventually(lambda: ids(found) == ["api-1"], 10, "the one that served before is used")
        client.do("DELETE", f"{pods(namespace)}/api-1", gracePeriodSeconds=0)
        await eventually(lambda: not found.current, 10, "one that is gone is gone")


async def test_control_ports_are_there_before_readiness(client, namespace, account):
    """A headless Service that publishes unready addresses, by the port's number: what FLEET reads."""
    allow(client, namespace)
    service(client, namespace, clusterIP="None", publishNotReadyAddresses=True, ports=PORTS[1:])
    run_pod(client, namespace, "api-1", "10.1.0.1")
    says_ready(client, namespace, "api-1", ready=False)
    async with following(namespace, 9180) as found:
        await eventually(lambda: ids(found) == ["api-1"], 10, "an unready pod is there")
        assert (found.current[0].port, found.current[0].draining) == (9180, False)


async def test_the_api_server_ends_the_watch(client, namespace, account, plane, monkeypatch):
    """It is resumed as often as it is ended, with one list in all, and what changes meanwhile arrives."""
    monkeypatch.setattr(endpoint_slices, "WATCH_S", 2)
    allow(client, namespace)
    service(client, namespace)
    run_pod(client, namespace, "api-1", "10.1.0.1")
    async with following(namespace) as found:
        await eventually(lambda: len(asked(plane, namespace, "watch")) >= 3, 20, "three watches were ended")
        run_pod(client, namespace, "api-2", "10.1.0.2")
        await eventually(lambda: ids(found) == ["api-1", "api-2"], 10, "the change arrived")
    assert {event["responseStatus"]["code"] for event in asked(plane, namespace, "watch")} == {200}
    assert len(asked(plane, namespace, "list")) == 1


async def test_a_version_that_is_refused(client, namespace, account, plane):
    """The API server will not watch from there: the source lists again and goes on."""
    allow(client, namespace)
    service(client, namespace)
    run_pod(client, namespace, "api-1", "10.1.0.1")
    source = make_source(f"k8s:{namespace}/api:http")
    assert isinstance(source, SliceSource)
    source._version = "elsewhere"  # a 410 needs five minutes of history; it takes the same way (tests/unit)
    following_it = spawn(source.follow(lambda: None), name="follow")
    await eventually(lambda: [one.id for one in source.found] == ["api-1"], 10, "it was listed")
    await stop(following_it)
    assert len(asked(plane, namespace, "list")) == 1


@pytest.mark.parametrize(
    ("action", "times"),
    [
        (Refuse(410), 2),
        (Refuse(429, retry_after_s=1), 2),
        (Refuse(500), 3),
        (Cut(), 3),
        (Silence(), 1),
        (Twice(), 9),
        (Delay(1), 2),
    ],
    ids=lambda value: type(value).__name__ + str(getattr(value, "status", "")) if not isinstance(value, int) else "",
)
async def test_faults_of_the_watch_lose_nothing(client, namespace, account, plane, monkeypatch, action, times):
    """Whatever happens to the watches: a pod that comes meanwhile is found, and those that are there never vanish in between."""
    monkeypatch.setattr(endpoint_slices, "WATCH_S", 2)
    monkeypatch.setattr(endpoint_slices, "SILENCE_S", 0.5)
    allow(client, namespace)
    service(client, namespace)
    run_pod(client, namespace, "api-1", "10.1.0.1")
    seen: list[tuple[EndpointInfo, ...]] = []
    with fault_proxy(plane) as proxy:
        monkeypatch.setattr(endpoint_slices, "in_cluster", lambda: Cluster(proxy.url, account))
        found = Discovery([f"k8s:{namespace}/api:http"], seen.append)
        proxy.add(lambda call: call.is_watch, action, times)
        await eventually(lambda: _listed(client, namespace), 10, "the slice has it ready")
        await found.start()
        await eventually(lambda: any(call.is_watch for call in proxy.calls), 10, "it watches")
        run_pod(client, namespace, "api-2", "10.1.0.2")
        await eventually(lambda: ids(found) == ["api-1", "api-2"], 15, "the second pod was found")
        await found.stop()
    assert all("api-1" in {one.id for one in each} for each in seen)


async def test_an_api_server_that_is_away(client, namespace, account, plane):
    """Every connection is cut for a while: the last answer stays; what changed is there soon after."""
    allow(client, namespace)
    service(client, namespace)
    run_pod(client, namespace, "api-1", "10.1.0.1")
    with fault_proxy(plane) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint_slices, "in_cluster", lambda: Cluster(proxy.url, account))
        patch.setattr(endpoint_slices, "WATCH_S", 1)
        async with following(namespace) as found:
            await eventually(lambda: ids(found) == ["api-1"], 10, "it is there")
            proxy.add(lambda _call: True, Cut())
            count = len(proxy.calls)
            await eventually(lambda: len(proxy.calls) >= count + 3, 10, "it was asked in vain three times")
            run_pod(client, namespace, "api-2", "10.1.0.2")
            assert ids(found) == ["api-1"]
            proxy.heal()
            await eventually(lambda: ids(found) == ["api-1", "api-2"], 10, "it goes on")


def _listed(client: Client, namespace: str) -> bool:
    slices = client.do("GET", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")["items"]
    return any(one["conditions"]["ready"] for each in slices for one in each.get("endpoints") or ())


async def test_a_version_the_api_server_has_not_reached(client, namespace, account, monkeypatch):
    """As after a restored etcd: the watch is accepted and mute; the next list, due soon, finds what there is."""
    monkeypatch.setattr(endpoint_slices, "WATCH_S", 1)
    monkeypatch.setattr(endpoint_slices, "LIST_S", 2.0)
    allow(client, namespace)
    service(client, namespace)
    async with following(namespace) as found:
        source = found._sources[0]
        assert isinstance(source, SliceSource)
        source._version = str(int(source._version) + 1_000_000)
        run_pod(client, namespace, "api-1", "10.1.0.1")
        await eventually(lambda: ids(found) == ["api-1"], 10, "it was listed")


async def test_without_the_right_it_waits(client, namespace, account):
    """No Role: nothing is there; with it, everything, without a restart."""
    service(client, namespace)
    run_pod(client, namespace, "api-1", "10.1.0.1")
    async with following(namespace) as found:
        assert found.current == ()
        allow(client, namespace)
        await eventually(lambda: ids(found) == ["api-1"], 15, "the right arrived")


async def test_addresses_of_ipv6(client, namespace, account):
    """A slice by hand, without a Service: host:port is the name, brackets around the address."""
    allow(client, namespace)
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    labels = {"kubernetes.io/service-name": "api"}
    made: Object = {"metadata": {"name": "api-v6", "labels": labels}, "addressType": "IPv6"}
    made |= {"ports": [{"name": "http", "port": 3001}], "endpoints": [{"addresses": ["fd00::1"]}]}
    client.do("POST", slices, made)
    async with following(namespace) as found:
        await eventually(lambda: ids(found) == ["[fd00::1]:3001"], 10, "it is there")
        assert found.current[0].host == "fd00::1"
