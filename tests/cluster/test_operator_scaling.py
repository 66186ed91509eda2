"""The operator scales: a status for what is there, more replicas for a step, drained ones away."""

from __future__ import annotations

from tests.cluster.operator_scene import OLDEST

CONDITIONS = [
    "Accepted", "Available", "CircuitsClosed", "Degraded", "Paused", "Progressing", "Ready", "ScalingActive",
    "ScalingLimited", "Stalled", "TiersEnforced",
]  # fmt: skip


def test_apply_gives_a_status(scene, kubectl):
    """Every condition, Ready, the columns of kubectl get; no finalizer and no annotation on the object."""
    scene.platform(api=2)
    scene.operator()
    scene.apply()
    took = scene.ready()
    status = scene.status()
    assert [c["type"] for c in status["conditions"]] == CONDITIONS
    assert status["replicas"] == 2
    assert "app.kubernetes.io/instance=shop" in status["selector"]
    row = kubectl("get", "sapi", "-o", "wide").splitlines()
    assert row[1].split()[:4] == ["shop", "True", "Auto", "AllComponentsReady"]
    assert "2/2" in row[1]
    metadata = kubectl("get", "sapi", "shop", "-o", "yaml")
    assert "finalizers" not in metadata
    assert "annotations" not in metadata
    print(f"apply → Ready with a starting operator: {took:.1f} s")


@OLDEST
def test_a_step_of_the_load_is_answered(scene, promise):
    """Sixteen times the target on one pod: /scale is written within three seconds, with an Event that says why."""
    scene.platform()
    scene.operator()
    scene.apply()
    scene.ready()
    voice = scene.voices("api").popitem()[1]
    heard = voice.seq + 5
    scene.until(lambda: voice.seq > heard)  # past the bustle of the start: once a second from here
    scene.load("api", 320)
    took = scene.until(lambda: scene.replicas("api") > 1, 20)
    promise("load step → /scale written", took)
    scene.until(lambda: scene.replicas("api") == 9)  # 4 times itself, or 8 more: the policies' widest
    scene.until(lambda: [note for reason, note in scene.events() if reason == "ScaledUp" and "api 1→" in note])
    scene.until(lambda: scene.status()["replicas"] == 9)
    (api,) = [component for component in scene.status()["components"] if component["name"] == "api"]
    assert api["lastDecision"]["final"] == 9
    assert api["inPanic"]


@OLDEST
def test_the_idle_pods_go_once_they_are_empty(scene):
    """Each is drained, marked by its deletion cost, and it is the one that goes; the busy one stays."""
    scene.platform(api=3)
    scene.operator()
    scene.apply()
    scene.ready()
    busy, *idle = scene.voices("api").values()
    busy.in_flight = 10
    took = scene.until(lambda: scene.replicas("api") == 1 and len(scene.pods("api")) == 1, 30)
    print(f"3 → 1 drained pods, settling of 6 s included: {took:.1f} s")
    assert scene.pods("api")[0]["metadata"]["name"] == busy.instance
    assert [voice.calls[-1] for voice in idle] == ["drain", "drain"]
    assert "drain" not in busy.calls
    marked = [e["objectRef"]["name"] for e in scene.audited(writes=True) if e["objectRef"]["resource"] == "pods"]
    assert sorted(marked) == sorted(voice.instance for voice in idle)
    assert scene.condition("Ready")[0] == "True"
