"""One leader at a time: who takes over, when, and that nothing of the old one counts any more."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time

import pytest

from tests.cluster.operator_scene import OLDEST, Scene, quick
from tests.cluster.test_operator_tiers import STRICTER

pytestmark = OLDEST

Process = subprocess.Popen[bytes]


def started(scene: Scene) -> Process:
    scene.platform()
    process = scene.operator()
    scene.apply()
    scene.ready()
    return process


def test_a_killed_leader_is_followed(scene):
    """The standby decides within fifteen seconds; the epoch has grown; nobody shrank."""
    first = started(scene)
    second = scene.operator()
    scene.until(lambda: scene.asked(second, "/readyz").status_code == 200)
    first.send_signal(signal.SIGKILL)
    scene.load("api", 320)
    took = scene.until(lambda: scene.replicas("api") > 1, 20)
    print(f"leader killed → next decision: {took:.1f} s")
    assert took <= 15
    scene.change({"spec": {"tiers": {"definitions": STRICTER}}})
    gateway = scene.voices("gateway").popitem()[1]
    scene.until(lambda: max(gateway.epochs) == 2)


def test_a_stopped_leader_writes_nothing_when_it_goes_on(scene):
    """Past its lease, resumed: it ends with 1, and no write of it is in the audit log after another led."""
    first = started(scene)
    first.send_signal(signal.SIGSTOP)
    second = scene.operator()
    scene.until(lambda: "operator_leader 1" in text(scene, second), 20)
    scene.load("api", 320)
    scene.until(lambda: scene.replicas("api") > 1)
    scene.until(lambda: scene.status()["replicas"] == 9)
    time.sleep(1)  # the new leader's own writes are done: what comes now is the old one's
    before = len(scene.audited(writes=True))
    calls = sum(len(voice.calls) for voice in scene.control.voices.values())
    first.send_signal(signal.SIGCONT)
    assert first.wait(10) == 1
    stale = scene.audited(writes=True)[before:]
    assert stale == []
    assert sum(len(voice.calls) for voice in scene.control.voices.values()) == calls


def test_sigterm_lets_the_lease_go(scene):
    """Exit code 0, and the standby leads within three seconds."""
    first = started(scene)
    second = scene.operator()
    scene.until(lambda: scene.asked(second, "/readyz").status_code == 200)
    first.send_signal(signal.SIGTERM)
    took = scene.until(lambda: "operator_leader 1" in text(scene, second), 10)
    assert first.wait(10) == 0
    print(f"SIGTERM → the standby leads: {took:.1f} s")
    assert took <= 4


def text(scene: Scene, process: Process) -> str:
    with contextlib.suppress(OSError):
        return scene.asked(process, "/metrics").text
    return ""


FAULTS = ["before:1", "after:1", "after:2", "before:3"]


def crashed(scene: Scene, fault: str) -> Process:
    """A second operator that will end at that write; the first one has settled everything."""
    scene.kill(started(scene))
    scene.free_lease()
    return scene.operator(FAULT_AT=fault)


def followed(scene: Scene, process: Process) -> None:
    """It died at its write; another takes over."""
    assert process.wait(20) == -signal.SIGKILL
    scene.free_lease()
    scene.operator()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_crash_at_any_write_of_a_scale_up(scene, fault):
    """The same end for each: nine replicas, one record, acknowledged tiers."""
    process = crashed(scene, fault)
    scene.load("api", 320)
    followed(scene, process)
    scene.until(lambda: scene.replicas("api") == 9)
    scene.until(lambda: scene.condition("TiersEnforced")[:2] == ("True", "AllPodsAcked"))
    scene.until(lambda: scene.status()["replicas"] == 9)
    assert scene.status()["tiers"]["activeRevision"] == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_crash_at_any_write_of_a_rotation(scene, fault):
    """The same end for each: the new content as revision 2, enforced by all, the old one in the history."""
    process = crashed(scene, fault)
    scene.change({"spec": {"tiers": {"definitions": STRICTER}}})
    followed(scene, process)
    scene.until(lambda: scene.status()["tiers"]["activeRevision"] == 2)
    scene.until(lambda: scene.status()["tiers"]["phase"] == "Active")
    scene.until(lambda: scene.condition("TiersEnforced")[:2] == ("True", "AllPodsAcked"))
    tiers = scene.status()["tiers"]
    assert (tiers["activeRevision"], tiers["previousRevision"]) == (2, 1)
    assert {voice.tier.hash for name in ("gateway", "balancer") for voice in scene.voices(name).values()} == {
        tiers["activeHash"]
    }


@pytest.mark.parametrize("fault", ["after:2", "before:3"])
def test_a_crash_at_any_write_of_a_drained_scale_down(scene, fault):
    """The same end for each: two replicas, the busy ones; nobody is marked, nobody stays drained but who went."""
    scene.platform(api=3)
    scene.kill(scene.operator())
    scene.operator(FAULT_AT=fault)
    scene.until(lambda: len(scene.voices("api")) == 3)
    for number, voice in enumerate(scene.voices("api").values()):
        voice.in_flight = 18 if number else 0
    scene.apply(components=[quick("gateway"), quick("balancer"), quick("api", minReplicas=2)])
    busy = {voice.instance for voice in scene.voices("api").values() if voice.in_flight}
    followed(scene, scene.processes[-1])
    scene.until(lambda: scene.replicas("api") == 2 and set(scene.voices("api")) == busy, 30)
    scene.until(lambda: scene.condition("Ready")[0] == "True" and scene.status()["replicas"] == 2)
    annotations = [pod["metadata"].get("annotations") for pod in scene.pods("api")]
    assert annotations == [None, None]
    assert not [voice for voice in scene.voices("api").values() if voice.draining]
