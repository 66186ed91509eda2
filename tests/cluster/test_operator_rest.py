"""What the operator may do is what it does, in one namespace, in several, and in all of them. At rest: test_operator_minutes.py."""

from __future__ import annotations

from scalable_operator.resources import rbac
from tests.cluster.client import Object
from tests.cluster.conftest import new_namespace
from tests.cluster.operator_scene import OLDEST, Scene, quick

pytestmark = OLDEST


def test_one_operator_for_every_namespace(scene):
    """With the ClusterRole and WATCH_NAMESPACES unset it needs nothing more."""
    scene.platform()
    scene.grant(rbac.clusterwide(scene.namespace))
    scene.operator(WATCH_NAMESPACES="")
    scene.apply()
    scene.ready()
    refs = [event["objectRef"] for event in scene.audited() if "objectRef" in event]
    watched = {ref["resource"] for ref in refs if "namespace" not in ref}
    assert watched >= {"scalableapis", "deployments", "pods", "configmaps", "horizontalpodautoscalers"}
    scene.until(lambda: rights([rbac.CRD_RULE]) <= asked(scene.audited()))


def test_two_operators_have_a_namespace_each(scene, plane, client):
    """Side by side, each with its own Lease and Roles: both serve theirs, and neither asks for anything of the other's."""
    with Scene(plane, new_namespace(client)) as other:
        for one in (scene, other):
            one.platform()
            one.operator()
            one.apply()
        for one in (scene, other):
            one.ready()
        for own, foreign in ((scene, other), (other, scene)):
            assert {
                event["objectRef"].get("namespace", own.namespace) for event in own.audited() if "objectRef" in event
            } == {own.namespace}
            assert not [event for event in own.audited() if foreign.namespace in event["requestURI"].split("/")]


def test_a_namespace_of_many_pods(scene):
    """With 130 pods before its start the watches fill: kopf's worker limit of 100 once kept them waiting for ever."""
    scene.kubelet.ready = False
    scene.platform(api=130)
    scene.until(lambda: len(scene.pods("api")) == 130, 30)
    scene.operator()
    scene.apply()
    scene.until(lambda: scene.status()["replicas"] == 130)
    assert scene.replicas("api") == 130


def test_rights_and_requests_are_the_same(scene, plane):
    """Every request of every operator of this run was granted by the tables, and this one here uses every right."""
    scene.platform(api=2)
    scene.operator()
    scene.apply(components=[quick("gateway"), quick("balancer"), quick("api", mode="Manual")], replicas=1)
    token = {"tokenSecretRef": {"name": "shop-control"}}
    scene.apply("other", components=[quick("api", targetRef={"name": "nowhere"})], control=token)
    scene.until(lambda: scene.replicas("api") == 1)  # one was marked, and scaled away
    scene.until(lambda: "nowhere" in scene.condition("Ready", "other")[2])
    scene.ready()
    tables = [*rbac.rules(), *rbac.LEASE_RULES, *rbac.token_reader("shop-control", "any")[0]["rules"]]
    granted = rights(tables)
    scene.until(lambda: granted <= asked(scene.audited()), why=f"all of {granted}; used: {asked(scene.audited())}")
    ours = [event for event in plane.audited() if event["user"]["username"].endswith(f":{rbac.ACCOUNT}")]
    assert asked(ours) <= granted | rights([rbac.CRD_RULE])
    assert [event["requestURI"] for event in scene.audited() if event["responseStatus"].get("code") == 403] == []


def rights(rules: list[Object]) -> set[tuple[str, str, str]]:
    """Group, resource, verb of each."""
    return {
        (group, what, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for what in rule["resources"]
        for verb in rule["verbs"]
    }


def asked(events: list[Object]) -> set[tuple[str, str, str]]:
    """Group, resource, verb of each request."""
    found = set()
    for event in events:
        if "objectRef" in event:
            ref, code = event["objectRef"], event["responseStatus"].get("code")
            what = "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
            found.add((ref.get("apiGroup", ""), what, event["verb"]))
            if (event["verb"], code) == ("patch", 201):  # an apply that creates is asked for both rights
                found.add((ref.get("apiGroup", ""), what, "create"))
    return found
