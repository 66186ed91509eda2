"""Older and newer neighbours: a CRD of another version, pods of the version before, fields that nobody knows yet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scalable_operator import installed
from scalable_operator.resources import rbac
from services.schema.crd import SCHEMA_VERSION
from tests.cluster.client import MERGE, Client
from tests.cluster.conftest import CRDS
from tests.cluster.operator_scene import COMPONENTS, OLDEST, Scene

pytestmark = OLDEST

SOON_S = 40
"""It is looked at every ten seconds while it is too old."""


def of_version(client: Client, version: int) -> None:
    body = {"metadata": {"annotations": {installed.ANNOTATION: str(version)}}}
    client.do("PATCH", f"{CRDS}/{installed.NAME}", body, kind=MERGE)


@pytest.fixture
def crd(client) -> Iterator[Client]:
    """Its annotation is put back."""
    yield client
    of_version(client, SCHEMA_VERSION)


def accepted(scene: Scene) -> tuple[str, str]:
    return scene.condition("Accepted")[:2]


def test_an_older_crd_is_named(scene, crd):
    """Accepted=False/UnsupportedVersion with both versions, in the log too; the fleet is served all the same; the new CRD ends it."""
    of_version(crd, SCHEMA_VERSION - 1)
    scene.platform()
    scene.grant(rbac.clusterwide(scene.namespace))
    reading = ("get", "apiextensions.k8s.io", "customresourcedefinitions", installed.NAME)
    scene.until(lambda: scene.allowed(*reading))  # else it is not asked again for a minute
    process = scene.operator(WATCH_NAMESPACES="")
    scene.apply()
    took = scene.until(lambda: accepted(scene) == ("False", "UnsupportedVersion"))
    told = scene.condition("Accepted")[2]
    scene.until(lambda: scene.condition("TiersEnforced")[1] == "AllPodsAcked")
    assert f"schema version {SCHEMA_VERSION - 1}, this operator needs {SCHEMA_VERSION}" in told
    assert told in scene.logs[process.pid].read_text()
    of_version(crd, SCHEMA_VERSION)
    ended = scene.until(lambda: scene.condition("Ready")[0] == "True", SOON_S)
    print(f"\nolder CRD → named: {took:.1f} s; new CRD applied → Ready: {ended:.1f} s: {told}")


def test_a_newer_crd_is_served(scene, crd):
    """The schema is additive: nothing to say."""
    of_version(crd, SCHEMA_VERSION + 1)
    scene.platform()
    scene.grant(rbac.clusterwide(scene.namespace))
    scene.operator(WATCH_NAMESPACES="")
    scene.until(lambda: [event for event in scene.audited() if installed.NAME in event["requestURI"]])
    scene.apply()
    scene.ready()
    assert accepted(scene) == ("True", "Accepted")


def test_pods_of_the_versions_beside_are_read(scene):
    """The minor before and the one after, with members and words that this version does not know: polled, rotated, scaled by."""
    scene.platform()
    for name in COMPONENTS:
        scene.until(lambda name=name: scene.voices(name))
    before, after = scene.voices("gateway").popitem()[1], scene.voices("api").popitem()[1]
    before.version, scene.voices("balancer").popitem()[1].version, after.version = "1.2.9", "1.3.0", "1.4.0"
    after.newer = {
        "mood": {"of": "the pod"},
        "breakers": [{"name": "redis", "state": "resting", "since": "2026-01-01T00:00:00Z", "by": "a person"}],
        "endpoints": [{"id": "shop-worker-1", "state": "retired", "zone": "a"}],
    }
    scene.operator(APP_VERSION="1.3.0")
    scene.apply()
    scene.ready()
    scene.until(lambda: scene.condition("TiersEnforced")[1] == "AllPodsAcked")
    assert scene.condition("Degraded")[1] == "AsExpected"
    assert (accepted(scene), scene.status()["controllerVersion"]) == (("True", "Accepted"), "1.3.0")
    after.in_flight = 60
    took = scene.until(lambda: scene.replicas("api") >= 3)
    print(f"\nload on a pod of 1.4.0 → scaled by 1.3.0: {took:.1f} s")


def test_a_pod_of_the_version_before_the_last_is_named(scene):
    """Accepted=False/UnsupportedVersion until it is replaced; it is served all the same. What is no version is not judged."""
    scene.platform()
    for name in COMPONENTS:
        scene.until(lambda name=name: scene.voices(name))
    (odd,), ((name, old),) = scene.voices("gateway").values(), scene.voices("api").items()
    odd.version, old.version = "0+unknown", "1.1.7"
    scene.voices("balancer").popitem()[1].version = "1.3.0"
    scene.operator(APP_VERSION="1.3.0")
    scene.apply()
    took = scene.until(lambda: accepted(scene) == ("False", "UnsupportedVersion"))
    told = scene.condition("Accepted")[2]
    assert told.endswith(f": {name}")
    scene.until(lambda: scene.condition("TiersEnforced")[1] == "AllPodsAcked")
    old.version = "1.2.0"
    ended = scene.until(lambda: scene.condition("Ready")[0] == "True")
    print(f"\na pod of 1.1 under 1.3 → named: {took:.1f} s; of 1.2 → Ready: {ended:.1f} s: {told}")
