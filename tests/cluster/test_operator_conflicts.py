"""What keeps the operator from doing what it is asked is a condition that names it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from scalable_operator.resources import rbac
from tests.cluster.client import MERGE, scalable_apis
from tests.cluster.operator_scene import OLDEST, quick

pytestmark = OLDEST


def test_an_autoscaler_of_the_same_deployment(scene):
    """Conflicted, the rival named, no /scale; Recommend goes with it; without it the component scales again."""
    scene.platform()
    path = f"/apis/autoscaling/v2/namespaces/{scene.namespace}/horizontalpodautoscalers"
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-api"}
    hpa = {"metadata": {"name": "rival"}, "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2}}
    scene.client.do("POST", path, hpa)
    scene.operator()
    scene.apply()
    scene.until(lambda: scene.condition("ScalingActive")[:2] == ("False", "Conflicted"))
    assert "HorizontalPodAutoscaler/rival" in scene.condition("ScalingActive")[2]
    scene.load("api", 320)
    scene.until(lambda: [c for c in scene.status()["components"] if c["name"] == "api" and c["recommended"] > 1])
    assert scene.replicas("api") == 1
    scene.client.do("DELETE", f"{path}/rival")
    scene.until(lambda: scene.replicas("api") > 1)
    scene.until(lambda: scene.condition("ScalingActive")[0] == "True")


def test_two_objects_for_one_deployment(scene):
    """The older one has it; the other is Accepted=False/Conflicted and names it, and writes nothing of it."""
    scene.platform()
    scene.operator()
    first = datetime.fromisoformat(scene.apply()["metadata"]["creationTimestamp"])
    scene.ready()
    scene.until(lambda: datetime.now(UTC) - first > timedelta(seconds=1))  # its age is counted in whole seconds
    scene.apply("later", components=[quick("api", targetRef={"name": "shop-api"}, minReplicas=5)],
                control={"tokenSecretRef": {"name": "shop-control"}})  # fmt: skip
    scene.until(lambda: scene.condition("Accepted", "later")[:2] == ("False", "Conflicted"))
    assert "ScalableApi/shop" in scene.condition("Accepted", "later")[2]
    assert scene.condition("Stalled", "later")[0] == "True"
    assert scene.condition("Ready")[0] == "True"
    assert scene.replicas("api") == 1
    scene.client.do("DELETE", scalable_apis(scene.namespace, "shop"))
    scene.until(lambda: scene.replicas("api") == 5)


def test_replicas_that_somebody_sets(scene):
    """Put back with an Event that names him; the third time in five minutes he has it: Conflicted."""
    scene.platform()
    scene.operator()
    scene.apply()
    scene.ready()
    path, query = scene.deployments("api", "scale"), {"fieldManager": "somebody"}
    for _ in range(2):
        scene.client.do("PATCH", path, {"spec": {"replicas": 4}}, kind=MERGE, **query)
        took = scene.until(lambda: scene.replicas("api") == 1, 20)
        print(f"put back after {took:.2f} s")
    scene.until(lambda: [n for reason, n in scene.events() if reason == "ReplicasOverwritten" and "somebody" in n])
    scene.client.do("PATCH", path, {"spec": {"replicas": 4}}, kind=MERGE, **query)
    scene.until(lambda: scene.condition("ScalingActive")[:2] == ("False", "Conflicted"))
    assert "somebody" in scene.condition("ScalingActive")[2]
    assert scene.replicas("api") == 4


def test_a_target_that_is_not_there_or_not_ours(scene):
    """TargetNotFound says which and why; once it is there and labelled, all is well."""
    scene.secret()
    for component in ("gateway", "balancer"):
        scene.deployment(component)
    scene.operator()
    scene.apply()
    scene.until(lambda: scene.condition("Accepted") == ("False", "TargetNotFound", "Deployment shop-api is not there"))
    scene.deployment("api", labelled=False)
    scene.until(lambda: "shop-api has no label scalableapi.io/component" in scene.condition("Accepted")[2], 20)
    labels = {"metadata": {"labels": {"scalableapi.io/component": "api"}}}
    scene.client.do("PATCH", scene.deployments("api"), labels, kind=MERGE)
    scene.ready()
    assert scene.condition("Accepted") == ("True", "Accepted", "")


def test_a_missing_secret_and_a_changed_one(scene):
    """ControlTokenUnavailable names the Secret; a token that pods refuse is read again; nothing is lowered meanwhile."""
    for component in ("gateway", "balancer", "api"):
        scene.deployment(component, 2)
    scene.operator()
    scene.apply()
    scene.until(lambda: scene.condition("Accepted")[:2] == ("False", "ControlTokenUnavailable"))
    assert "Secret/shop-control" in scene.condition("Accepted")[2]
    scene.until(lambda: len(scene.voices("api")) == 2)
    scene.load("api", 30)
    scene.secret()
    scene.ready(20)
    scene.control.token = "another-token-of-the-tests"
    scene.until(lambda: scene.condition("Accepted")[1] == "ControlTokenUnavailable")
    path = f"/api/v1/namespaces/{scene.namespace}/secrets/shop-control"
    scene.client.do("PATCH", path, {"stringData": {"token": scene.control.token}}, kind=MERGE)
    scene.until(lambda: scene.condition("Accepted")[0] == "True", 20)
    assert scene.replicas("api") == 2


def test_a_right_that_is_missing(scene):
    """403: Denied names the verb and the resource, and so does Stalled."""
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{scene.namespace}/roles/{rbac.ACCOUNT}"
    rules = [rule for rule in rbac.rules() if rule["resources"] != ["deployments/scale"]]
    scene.client.do("PATCH", roles, {"rules": rules}, kind=MERGE)
    scene.platform()
    scene.operator()
    scene.apply()
    scene.ready()
    scene.load("api", 320)
    scene.until(lambda: scene.condition("Accepted")[:2] == ("False", "Denied"))
    assert "patch deployments/scale" in scene.condition("Accepted")[2]
    scene.until(lambda: scene.condition("Stalled")[:2] == ("True", "Denied"))
