"""Away with it: an object that is deleted leaves no pod marked, and whatever goes first, only the CRD stays."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from scalable_operator.lease import NAME
from scalable_operator.resources import rbac
from tests.cluster.client import Object, scalable_apis
from tests.cluster.conftest import kubectl_of
from tests.cluster.control_server import Voice
from tests.cluster.fault_proxy import Call, Refuse
from tests.cluster.operator_scene import OLDEST, Scene, quick
from tests.cluster.test_operator_crashes import shows

pytestmark = OLDEST

NAMESPACES = "/api/v1/namespaces/"
COLLECTED_S = 90
"""The garbage collector looks every 30 s whether there are new kinds; before that it collects nothing that they own."""
COST = "controller.kubernetes.io/pod-deletion-cost"
FEWER: Object = {"components": [quick("gateway"), quick("balancer"), quick("api", mode="Manual")], "replicas": 3}


def draining(scene: Scene) -> list[Voice]:
    return [voice for voice in scene.voices("api").values() if voice.draining]


def marked(scene: Scene) -> list[str]:
    return [pod["metadata"]["name"] for pod in scene.pods("api") if COST in pod["metadata"].get("annotations", {})]


def delete(scene: Scene) -> None:
    """The object."""
    scene.client.do("DELETE", scalable_apis(scene.namespace, "shop"))


def disown(scene: Scene) -> None:
    """Its api alone."""
    scene.change({"spec": {"components": FEWER["components"][:2], "replicas": None}})


@pytest.mark.parametrize("let_go", [delete, disown])
def test_who_is_let_go_does_not_stay_drained(scene, let_go):
    """Its pod still has requests when the object, or the component in it, goes: it serves again at once; all three stay."""
    scene.platform(api=3)
    scene.operator()
    scene.apply(**FEWER)
    scene.until(lambda: shows(scene, 3))
    for voice in scene.voices("api").values():
        voice.in_flight = 5
    scene.change({"spec": {"replicas": 2}})
    scene.until(lambda: draining(scene))
    let_go(scene)
    took = scene.until(lambda: not draining(scene), 30)
    print(f"\n{let_go.__name__} during a drain → un-drained: {took:.1f} s")
    assert took <= 15
    assert scene.replicas("api") == len(scene.voices("api")) == 3


@pytest.mark.parametrize("let_go", [delete, disown])
def test_who_is_let_go_does_not_stay_marked(scene, proxy, let_go):
    """Between the mark for deletion and the decrease: the mark goes too."""

    def scales(call: Call) -> bool:
        return call.is_write and call.path.endswith("/scale")

    scene.platform(api=3)
    scene.operator(proxy.url)
    scene.apply(**FEWER)
    scene.until(lambda: shows(scene, 3))
    proxy.add(scales, Refuse(409))
    scene.change({"spec": {"replicas": 2}})
    scene.until(lambda: marked(scene))
    let_go(scene)
    took = scene.until(lambda: not marked(scene) and not draining(scene), 30)
    print(f"\n{let_go.__name__} with a pod marked → no mark: {took:.1f} s")
    assert took <= 15
    assert scene.replicas("api") == len(scene.voices("api")) == 3


@pytest.fixture(scope="module")
def deleted(client) -> Iterator[list[str]]:
    """Namespaces, which must be gone in the end: that takes five seconds at least, so they are waited for together."""
    names: list[str] = []
    yield names
    began = time.monotonic()
    while there := [name for name in names if client.ask("GET", NAMESPACES + name).status_code != 404]:
        assert time.monotonic() - began < COLLECTED_S, there
        time.sleep(0.2)
    print(f"\n{len(names)} namespaces gone {time.monotonic() - began:.1f} s after the last was deleted")


def remove_object(scene: Scene) -> None:
    """`kubectl delete sapi --all`: it waits until they are gone."""
    kubectl_of(scene.plane, scene.namespace)("delete", "sapi", "--all")


def remove_workload(scene: Scene) -> None:
    """What the workload's chart has: Deployments, the control Secret, the right to read it."""
    scene.client.do("DELETE", scene.deployments())
    scene.client.do("DELETE", f"/api/v1/namespaces/{scene.namespace}/secrets/shop-control")
    scene.revoke(rbac.token_reader("shop-control", scene.namespace, scene.namespace))


def remove_operator(scene: Scene) -> None:
    """What the operator's chart has: account and rights, which go before the process hears of it, and the Lease."""
    scene.revoke(rbac.namespaced(scene.namespace, scene.namespace))
    scene.client.do("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{scene.namespace}/leases/{NAME}")
    (process,) = scene.processes
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def left(scene: Scene) -> set[str]:
    """All objects of the namespace but those of every namespace, and Events, which end by themselves."""
    found = set()
    for group in ("/api/v1", *(f"/apis/{group}" for group in groups(scene))):
        for resource in scene.client.do("GET", group)["resources"]:
            if resource["namespaced"] and "list" in resource["verbs"] and resource["name"] != "events":
                listed = scene.client.do("GET", f"{group}/namespaces/{scene.namespace}/{resource['name']}")["items"]
                found |= {f"{resource['name']}/{one['metadata']['name']}" for one in listed}
    return found - {"serviceaccounts/default", "configmaps/kube-root-ca.crt"}


def groups(scene: Scene) -> list[str]:
    served = scene.client.do("GET", "/apis")["groups"]
    return [version["groupVersion"] for group in served for version in group["versions"]]


ORDERS = list(itertools.permutations((remove_object, remove_workload, remove_operator)))


def order_id(order: Sequence[Callable[[Scene], None]]) -> str:
    return "-".join(step.__name__.removeprefix("remove_") for step in order)


@pytest.mark.parametrize("order", ORDERS, ids=order_id)
def test_any_order_of_uninstalling_leaves_the_crd_alone(scene, deleted, order):
    """Each step ends, none waits for a finalizer; then the namespace is empty, and the CRD is still served."""
    scene.platform()
    scene.operator()
    scene.apply()
    scene.ready()
    there = left(scene)
    assert there >= {"scalableapis/shop", "configmaps/shop-tiers", f"leases/{NAME}", "deployments/shop-api"}
    began = time.monotonic()
    for step in order:
        step(scene)
    removed = time.monotonic() - began
    took = scene.until(lambda: not left(scene), COLLECTED_S, "nothing is left")
    scene.client.do("DELETE", NAMESPACES + scene.namespace)
    deleted.append(scene.namespace)
    print(f"\n{len(there)} objects: removed in {removed:.1f} s, the last collected {took:.1f} s later")
    assert scene.client.do("GET", "/apis/scalableapi.io/v1")["resources"]
    assert scene.client.do("GET", scalable_apis(scene.namespace))["items"] == []
