"""An operator that dies at any of its writes, before or after the API server took it, is followed to the same end.

One scene per flow and moment: the operator that takes over is the next case's victim. Case k is the flow once more with
the end at its k-th write; the last case is the one in which no k-th write came. The proxy counts them and kills.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.client import Object, scalable_apis
from tests.cluster.control_server import Voice
from tests.cluster.fault_proxy import Call, FaultProxy, Moment
from tests.cluster.operator_scene import OLDEST, Scene, quick

pytestmark = [OLDEST, pytest.mark.parametrize("moment", ["before", "after"])]

WITHIN_S = 60
"""A successor has to start first, and a busy machine takes 15 s for that alone."""
MOST = 12
"""Writes of one flow: more is a loop."""


class Victim:
    """The operator behind the proxy, and who follows it."""

    def __init__(self, scene: Scene, proxy: FaultProxy) -> None:
        self.scene, self.proxy = scene, proxy
        self.process = scene.operator(proxy.url)
        self.died_at: Call | None = None
        self._open = 0
        self._last = (0, "before")
        proxy.at_write = self._at_write

    def die_at(self, number: int, moment: Moment) -> None:
        """At the `number`-th write from now."""
        self.died_at, self._last = None, (self.proxy.writes + number, moment)

    def _at_write(self, number: int, moment: Moment, call: Call) -> bool:
        self._open += 1 if moment == "before" else -1
        if (number, moment) != self._last:
            return True
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(5)
        self.died_at, self._open = call, 0
        return False

    def until(self, what: Callable[[], Any], why: str) -> None:
        """`what`, whoever brings it about, and no write under way."""
        self.scene.until(lambda: self._follow() and what() and self._open == 0 and self._follow(), WITHIN_S, why)

    def _follow(self) -> bool:
        """Is one alive? Else another takes over."""
        alive = self.process.poll() is None
        if not alive:
            assert self.died_at is not None, self.scene.log(self.process)
            self.scene.free_lease()
            for voice in self.scene.control.voices.values():
                voice.draining = False  # as if the mark's 120 s were over: a successor leaves it alone as long
            self.process = self.scene.operator(self.proxy.url)
        return alive


def every_write(victim: Victim, moment: Moment, flow: Callable[[], None]) -> None:
    """Case after case, as many as the flow has writes, and the undisturbed one."""
    began = time.monotonic()
    died: list[str] = []
    for number in range(1, MOST + 1):
        victim.die_at(number, moment)
        flow()
        if victim.died_at is None:
            break
        died.append("/".join(victim.died_at.path.split("/")[6:]))
    print(f"\ndied {moment} each of {len(died)} writes, {time.monotonic() - began:.1f} s: {', '.join(died)}")
    assert 2 <= len(died) < MOST


def settled(scene: Scene, proxy: FaultProxy, spec: Object, **replicas: int) -> Victim:
    """Ready, and its last details written."""
    scene.platform(**replicas)
    victim = Victim(scene, proxy)
    scene.apply(**spec)
    scene.ready()
    scene.until(lambda: enforced(scene))
    return victim


def enforced(scene: Scene) -> bool:
    return scene.condition("TiersEnforced")[:2] == ("True", "AllPodsAcked")


def shows(scene: Scene, replicas: int) -> bool:
    """The Deployment, its pods and the status agree, and all is well."""
    return (
        scene.replicas("api") == scene.status()["replicas"] == len(scene.voices("api")) == replicas
        and scene.condition("Ready")[0] == "True"
        and enforced(scene)
    )


def test_a_crash_at_any_write_of_a_scale_up(scene, proxy, moment):
    """One pod more each time, no matter where it died; one record, as before."""
    victim = settled(scene, proxy, {})
    busy = scene.voices("api").popitem()[1]
    busy.in_flight = 20

    def flow() -> None:
        wanted = scene.replicas("api") + 1
        busy.in_flight = 20 * wanted
        victim.until(lambda: shows(scene, wanted), f"{wanted} replicas")
        assert scene.status()["tiers"]["activeRevision"] == 1

    every_write(victim, moment, flow)


def test_a_crash_at_any_write_of_a_drained_scale_down(scene, proxy, moment):
    """One idle pod goes, and only one; the busy one stays, nobody stays marked, nobody stays drained."""
    spec = {"components": [quick("gateway"), quick("balancer"), quick("api", mode="Manual")], "replicas": 8}
    victim = settled(scene, proxy, spec, api=8)
    scene.until(lambda: shows(scene, 8))
    busy = scene.voices("api").popitem()[1]
    busy.in_flight = 5

    def flow() -> None:
        left = scene.replicas("api") - 1
        scene.change({"spec": {"replicas": left}})
        victim.until(lambda: shows(scene, left) and not _touched(scene), f"{left} replicas, nobody marked")
        assert busy in scene.voices("api").values()

    every_write(victim, moment, flow)


def _touched(scene: Scene) -> list[Any]:
    marks = [pod["metadata"]["annotations"] for pod in scene.pods("api") if pod["metadata"].get("annotations")]
    return [*marks, *(voice for voice in scene.voices("api").values() if voice.draining)]


def test_a_crash_at_any_write_of_a_rotation(scene, proxy, moment):
    """The new content as the next revision, enforced by all, the one before it in the history."""
    victim = settled(scene, proxy, {})

    def flow() -> None:
        before = scene.status()["tiers"]["activeRevision"]
        scene.change({"spec": {"tiers": {"definitions": definitions(20 + before)}}})
        victim.until(lambda: rotated(scene, before), f"revision {before + 1}")

    every_write(victim, moment, flow)
    assert [entry["revision"] for entry in scene.status()["tiers"]["history"]] == latest(scene)


def test_a_crash_at_any_write_of_a_canary(scene, proxy, moment):
    """The first gateway alone enforces it, then all do; whoever follows goes on with the same canary."""
    victim = settled(scene, proxy, {}, gateway=2)

    def flow() -> None:
        before = scene.status()["tiers"]["activeRevision"]
        slow = {"strategy": "Canary", "canary": {"podsPercent": 50, "hold": "10m"}}
        scene.change({"spec": {"tiers": {"definitions": definitions(20 + before), "rotation": slow}}})
        victim.until(lambda: _on_trial(scene, before), "the canary enforces it alone")
        scene.change({"spec": {"tiers": {"rotation": {"strategy": "Immediate"}}}})
        victim.until(lambda: rotated(scene, before), f"revision {before + 1}")

    every_write(victim, moment, flow)
    assert [entry["revision"] for entry in scene.status()["tiers"]["history"]] == latest(scene)


def test_a_crash_at_any_write_of_a_rollback(scene, proxy, moment):
    """A gateway refuses the document: the old content as the one revision after it, and what failed is not tried again."""
    victim = settled(scene, proxy, {})
    kept = scene.status()["tiers"]["activeHash"]

    def flow() -> None:
        before = scene.status()["tiers"]["activeRevision"]
        (gateway,) = scene.voices("gateway").values()
        gateway.refuse_tiers = True
        scene.change({"spec": {"tiers": {"definitions": definitions(20 + before)}}})
        victim.until(lambda: scene.status()["tiers"]["activeRevision"] == before + 2, "it is taken back")
        gateway.refuse_tiers = False
        victim.until(lambda: _taken_back(scene, before, kept), f"revision {before + 2}")

    every_write(victim, moment, flow)


def _taken_back(scene: Scene, before: int, kept: str) -> bool:
    tiers = scene.status()["tiers"]
    enforcing = {voice.tier.hash for voice in limiters(scene) if voice.tier}
    return (
        (tiers["activeRevision"], tiers["phase"]) == (before + 2, "RolledBack")
        and {tiers["activeHash"]} == enforcing == {kept}
        and tiers["failedHash"] not in {"", kept}
        and scene.condition("TiersEnforced")[:2] == ("False", "RolledBack")
    )


def test_a_crash_at_any_write_of_a_life(scene, proxy, moment):
    """Applied, Ready, deleted: its ConfigMap goes with it, even one that was written last, and nobody asks for it again."""
    scene.platform()
    victim = Victim(scene, proxy)
    tiers = f"/api/v1/namespaces/{scene.namespace}/configmaps/shop-tiers"

    def flow() -> None:
        scene.apply()
        victim.until(lambda: shows(scene, 1), "it is Ready")
        scene.client.do("DELETE", scalable_apis(scene.namespace, "shop"))
        victim.until(lambda: scene.client.ask("GET", tiers).status_code == 404, "its ConfigMap is gone")

    every_write(victim, moment, flow)


def latest(scene: Scene) -> list[int]:
    """The three revisions before the one in force: none twice, none left out."""
    active = scene.status()["tiers"]["activeRevision"]
    return list(range(active - 1, max(0, active - 4), -1))


def _on_trial(scene: Scene, before: int) -> bool:
    revisions = sorted(voice.tier.revision for voice in limiters(scene) if voice.tier)
    return scene.status()["tiers"]["phase"] == "Canary" and revisions == [before, before, before + 1]


def rotated(scene: Scene, before: int) -> bool:
    tiers = scene.status()["tiers"]
    enforcing = {voice.tier.hash for voice in limiters(scene) if voice.tier}
    return (
        (tiers["activeRevision"], tiers["previousRevision"], tiers["phase"]) == (before + 1, before, "Active")
        and enforcing == {tiers["activeHash"]}
        and enforced(scene)
    )


def limiters(scene: Scene) -> list[Voice]:
    return [*scene.voices("gateway").values(), *scene.voices("balancer").values()]


def definitions(quota: int) -> list[Object]:
    policies = [{"name": "anonymous", "quota": quota, "window": 60}]
    free = [{"name": "free", "quota": 70, "window": 60}]
    return [
        {"name": "anonymous", "criticality": "sheddable", "policies": policies},
        {"name": "free", "criticality": "critical", "policies": free},
    ]
