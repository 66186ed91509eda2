"""One leader at a time: who takes over, when, and that nothing of the old one counts any more."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time

from tests.cluster.operator_scene import OLDEST, Scene
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
    took = scene.until(lambda: scene.replicas("api") > 1, 60)
    print(f"leader killed → next decision: {took:.1f} s")
    assert took <= 45
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
    took = scene.until(lambda: "operator_leader 1" in text(scene, second), 30)
    assert first.wait(10) == 0
    print(f"SIGTERM → the standby leads: {took:.1f} s")
    assert took <= 20


def text(scene: Scene, process: Process) -> str:
    with contextlib.suppress(OSError):
        return scene.asked(process, "/metrics").text
    return ""
