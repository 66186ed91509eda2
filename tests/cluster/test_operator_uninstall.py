"""Away with it: an object that is deleted leaves no pod marked, and whatever goes first, only the CRD stays."""

from __future__ import annotations

import pytest

from tests.cluster.client import Object, scalable_apis
from tests.cluster.control_server import Voice
from tests.cluster.fault_proxy import Call, Refuse
from tests.cluster.operator_scene import OLDEST, Scene, quick
from tests.cluster.test_operator_crashes import shows

pytestmark = OLDEST

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
