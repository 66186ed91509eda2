"""At rest nothing is written; and what the operator may do is what it does."""

from __future__ import annotations

import time

from scalable_operator.resources import rbac
from tests.cluster.operator_scene import OLDEST

pytestmark = OLDEST

QUIET_S = 12
"""Longer than any pace of the controller but the minute's."""
UNSEEN = {
    ("apps", "deployments", "get"),  # only for a target that the watch does not show
    ("", "pods", "get"),  # kopf reads a listed object again when its watch was cut
    ("", "configmaps", "create"),  # asked inside a server-side apply that creates; audited as patch
    ("scalableapi.io", "scalableapis", "get"),
    ("autoscaling", "horizontalpodautoscalers", "get"),
}
"""Of operator.md §8's table, what no request of these tests shows."""


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
    assert QUIET_S * 0.8 <= ticks <= QUIET_S * 1.2  # once a second
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


def test_a_namespace_of_many_pods(scene):
    """With 130 pods before its start the watches fill: kopf's worker limit of 100 once kept them waiting for ever."""
    scene.kubelet.ready = False
    scene.platform(api=130)
    scene.until(lambda: len(scene.pods("api")) == 130, 30)
    scene.operator()
    scene.apply()
    scene.until(lambda: scene.status()["replicas"] == 130)


def test_rights_and_requests_are_the_same(scene, plane):
    """Every request of every operator of this run is granted by the table, and every right was used."""
    scene.platform()
    scene.operator()
    scene.apply()
    scene.ready()
    granted = {(group, what, verb) for group, what, verbs in rbac.RULES for verb in verbs}
    asked, refused = set(), []
    for event in plane.audited():
        if event["user"]["username"].endswith(f":{rbac.ACCOUNT}") and "objectRef" in event:
            ref = event["objectRef"]
            what = "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
            asked.add((ref.get("apiGroup", ""), what, event["verb"]))
            if event["responseStatus"].get("code") == 403:
                refused.append((what, event["verb"]))
    others = {("coordination.k8s.io", "leases", verb) for verb in ("create", "get", "update")} | {
        ("", "secrets", "get")
    }
    assert asked <= granted | others
    assert set(refused) <= {("deployments/scale", "patch")}  # the test that takes it away
    unused = granted - asked - UNSEEN
    alone = {("apps", "deployments/scale", "patch"), ("", "pods", "patch")}  # need the scaling tests beside this one
    assert unused <= alone
