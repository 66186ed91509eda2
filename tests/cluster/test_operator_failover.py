"""One leader at a time: who takes over, when, and that nothing of the old one counts any more."""

from __future__ import annotations

import signal
import subprocess

from tests.cluster.operator_scene import COMPONENTS, OLDEST, Scene
from tests.cluster.test_operator_tiers import STRICTER

pytestmark = OLDEST

Process = subprocess.Popen[bytes]


def started(scene: Scene) -> Process:
    scene.platform()
    process = scene.operator()
    scene.apply()
    scene.ready()
    return process


def test_a_killed_leader_is_followed(scene, promise):
    """The standby decides within fifteen seconds; the epoch has grown; nobody shrank."""
    first = started(scene)
    second = scene.operator()
    scene.until(lambda: scene.asked(second, "/readyz").status_code == 200)
    first.send_signal(signal.SIGKILL)
    scene.load("api", 320)
    took = scene.until(lambda: scene.replicas("api") > 1, 60)
    promise("leader killed → next decision", took)
    scene.change({"spec": {"tiers": {"definitions": STRICTER}}})
    gateway = scene.voices("gateway").popitem()[1]
    scene.until(lambda: max(gateway.epochs) == 2)


def test_a_stopped_leader_writes_nothing_when_it_goes_on(scene):
    """Past its lease, resumed: it ends with 1; from then on no write is its own, no pod takes a push of its epoch."""
    first = started(scene)
    first.send_signal(signal.SIGSTOP)
    second = scene.operator()
    scene.until(lambda: scene.leads(second), 60)
    scene.load("api", 320)
    scene.until(lambda: scene.replicas("api") > 1)
    scene.until(lambda: scene.status()["replicas"] == 9)
    before = len(scene.audited(writes=True))
    pushed = pushes(scene, epoch=1)
    first.send_signal(signal.SIGCONT)
    assert first.wait(30) == 1
    assert [write for write in scene.audited(writes=True)[before:] if scene.instance(first) in write["userAgent"]] == []
    assert pushes(scene, epoch=1) == pushed
    assert any(scene.instance(second) in write["userAgent"] for write in scene.audited(writes=True))


def test_of_two_that_start_at_once_one_leads(scene):
    """One Lease, one epoch, one document: the other stands by, ready, and has written nothing."""
    scene.platform()
    scene.apply()
    both = [scene.operator(), scene.operator()]
    scene.ready()
    scene.until(lambda: all(scene.asked(process, "/readyz").status_code == 200 for process in both))
    leading = [scene.leads(process) for process in both]
    assert sorted(leading) == [False, True]
    wrote = {write["userAgent"] for write in scene.audited(writes=True)}
    assert [any(scene.instance(process) in agent for agent in wrote) for process in both] == leading
    assert {epoch for name in COMPONENTS for voice in scene.voices(name).values() for epoch in voice.epochs} == {1}
    assert scene.status()["tiers"]["activeRevision"] == 1


def test_sigterm_lets_the_lease_go(scene):
    """Exit code 0, and the standby leads within three seconds."""
    first = started(scene)
    second = scene.operator()
    scene.until(lambda: scene.asked(second, "/readyz").status_code == 200)
    first.send_signal(signal.SIGTERM)
    took = scene.until(lambda: scene.leads(second), 30)
    assert first.wait(10) == 0
    print(f"SIGTERM → the standby leads: {took:.1f} s")
    assert took <= 20


def pushes(scene: Scene, epoch: int) -> int:
    """Taken by all pods."""
    return sum(voice.epochs.count(epoch) for voice in scene.control.voices.values())
