"""At rest nothing is written; and what the operator may do is what it does."""

from __future__ import annotations

import time

from scalable_operator.resources import rbac
from tests.cluster.client import Object
from tests.cluster.operator_scene import OLDEST, quick

pytestmark = OLDEST

QUIET_S = 12
"""Longer than any pace of the controller but the minute's."""


def test_no_writes_at_rest(scene):
    """A settled object: not one write but the Lease's."""
    scene.platform()
    scene.operator()
    scene.apply()
    scene.ready()
    scene.until(lambda: scene.condition("TiersEnforced")[0] == "True")
    time.sleep(7)  # the last details are written at most five seconds after they turned
    before = len(scene.audited(writes=True))
    polled = sum(voice.seq for voice in scene.control.voices.values())
    time.sleep(QUIET_S)
    ticks = (sum(voice.seq for voice in scene.control.voices.values()) - polled) / len(scene.control.voices)
    assert QUIET_S * 0.4 <= ticks <= QUIET_S * 1.5  # once a second, on a machine that is not busy
    written = [(e["verb"], e["objectRef"]["resource"]) for e in scene.audited(writes=True)[before:]]
    assert written == []
    metadata = scene.client.do("GET", f"/apis/scalableapi.io/v1/namespaces/{scene.namespace}/scalableapis/shop")[
        "metadata"
    ]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata


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
