"""The tiers document on its way to every gateway and balancer, and the circuits on their way into the status."""

from __future__ import annotations

from services.schema.snapshot import BreakerState
from services.schema.tiers import parse
from tests.cluster.client import MERGE
from tests.cluster.control_server import Voice
from tests.cluster.operator_scene import OLDEST, Scene

pytestmark = OLDEST

STRICTER = [
    {"name": "anonymous", "criticality": "sheddable", "policies": [{"name": "anonymous", "quota": 17, "window": 60}]},
    {"name": "free", "criticality": "critical", "policies": [{"name": "free", "quota": 70, "window": 60}]},
]


def started(scene: Scene, **replicas: int) -> None:
    scene.platform(**replicas)
    scene.operator()
    scene.apply()
    scene.ready()
    scene.until(lambda: scene.condition("TiersEnforced")[1] == "AllPodsAcked")


def quota(scene: Scene) -> int:
    """The anonymous tier's, in the ConfigMap."""
    return parse(scene.config_map()["data"]["tiers.yaml"].encode()).spec.tiers[0].policies[0].quota


def limiters(scene: Scene) -> list[Voice]:
    return [*scene.voices("gateway").values(), *scene.voices("balancer").values()]


def test_a_changed_tier_is_enforced_by_all(scene):
    """ConfigMap, push, acknowledgements, and only then TiersEnforced; the one that was away is named as missing."""
    started(scene, gateway=2)
    (late, *others), before = limiters(scene), scene.status()["tiers"]["activeRevision"]
    late.mute = True
    scene.change({"spec": {"tiers": {"definitions": STRICTER}}})
    scene.until(lambda: all(voice.tier and voice.tier.revision == before + 1 for voice in others), 20)
    assert quota(scene) == 17
    scene.until(lambda: scene.condition("TiersEnforced")[:2] == ("False", "RolloutInProgress"))
    late.mute = False
    took = scene.until(lambda: scene.condition("TiersEnforced")[:2] == ("True", "AllPodsAcked"), 20)
    assert late.tier is not None
    assert late.tier == others[0].tier
    assert scene.status()["tiers"]["activeHash"] == late.tier.hash
    scene.until(lambda: "TiersRotated" in [reason for reason, _ in scene.events()])
    owner = scene.config_map()["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["controller"], owner["blockOwnerDeletion"]) == ("ScalableApi", True, False)
    print(f"all acknowledged {took:.1f} s after the last one came back")


def test_a_refused_document_is_taken_back(scene):
    """422: the old content as a new revision, TiersEnforced=False/RolledBack."""
    started(scene)
    before = scene.status()["tiers"]["activeRevision"]
    limiters(scene)[0].refuse_tiers = True
    scene.change({"spec": {"tiers": {"definitions": STRICTER}}})
    scene.until(lambda: "TiersRolledBack" in [reason for reason, _ in scene.events()])
    limiters(scene)[0].refuse_tiers = False
    scene.until(lambda: scene.condition("TiersEnforced")[1] == "RolledBack")
    scene.until(lambda: scene.status()["tiers"]["phase"] == "RolledBack")
    assert scene.status()["tiers"]["activeRevision"] == before + 2
    assert quota(scene) == 100


def test_an_open_circuit_is_in_the_status(scene, promise):
    """Within two seconds, with the pod count and the reason; CircuitsClosed=False, an Event."""
    started(scene)
    opened = BreakerState("shop-api-1", "open", "2026-01-01T00:00:00Z", "5 failures in a row")
    scene.voices("balancer").popitem()[1].breakers = (opened,)
    took = scene.until(lambda: scene.condition("CircuitsClosed")[:2] == ("False", "CircuitOpen"), 20)
    (item,) = scene.status()["circuits"]["items"]
    assert (item["name"], item["component"], item["pods"]) == ("shop-api-1", "balancer", "1/1")
    scene.until(lambda: "CircuitOpened" in [reason for reason, _ in scene.events()])
    promise("breaker open → status", took)


def test_what_a_user_breaks_is_healed(scene):
    """An edited and a deleted ConfigMap, a spoofed status, a foreign mark for deletion: as before, within two seconds."""
    started(scene)
    path, took = f"/api/v1/namespaces/{scene.namespace}/configmaps/shop-tiers", {}
    kept = scene.config_map()["data"]
    scene.client.do("PATCH", path, {"data": {"tiers.yaml": "spoilt"}}, kind=MERGE)
    took["edited"] = scene.until(lambda: scene.config_map()["data"] == kept, 20)
    uid = scene.config_map()["metadata"]["uid"]
    scene.client.do("DELETE", path)
    took["deleted"] = scene.until(
        lambda: scene.config_map()["data"] == kept and scene.config_map()["metadata"]["uid"] != uid, 20
    )
    status = f"/apis/scalableapi.io/v1/namespaces/{scene.namespace}/scalableapis/shop/status"
    scene.client.do("PATCH", status, {"status": {"replicas": 77, "summary": {"api": "77/77"}}}, kind=MERGE)
    took["spoofed"] = scene.until(
        lambda: scene.status()["replicas"] == 1 and scene.status()["summary"]["api"] == "1/1", 20
    )
    pod = f"/api/v1/namespaces/{scene.namespace}/pods/{scene.pods('api')[0]['metadata']['name']}"
    cost = "controller.kubernetes.io/pod-deletion-cost"
    scene.client.do("PATCH", pod, {"metadata": {"annotations": {cost: "-1000"}}}, kind=MERGE)
    took["marked"] = scene.until(lambda: cost not in scene.client.do("GET", pod)["metadata"].get("annotations", {}), 20)
    print("healed:", {what: f"{seconds:.2f} s" for what, seconds in took.items()})
    assert max(took.values()) <= 15
