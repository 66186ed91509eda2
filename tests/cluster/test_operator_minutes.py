"""What takes five minutes, beside all other tests: an object at rest, and one whose leader was killed.

Both have a control plane of their own, from the run's first test to its last: nothing that others do to theirs is seen,
and the ones here wait only for what is left of the time.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest

from tests.cluster.binaries import minors
from tests.cluster.client import Object
from tests.cluster.conftest import built, install_crd, new_namespace
from tests.cluster.control_plane import control_plane
from tests.cluster.operator_scene import COMPONENTS, Scene, quick

SETTLED_S = 75
"""A quick component settles for six seconds, and a decision that changes nothing is shown at most once a minute."""
MINUTES_S = 300
"""Of rest; and for so long the new leader watches before it lowers anything."""
GONE_S = 60
LIMIT = pytest.mark.timeout(SETTLED_S + MINUTES_S + GONE_S, func_only=True)
READS = frozenset({"get", "list", "watch"})


@dataclass(slots=True)
class Minutes:
    """Two scenes at work. `begun`: when `polled` was counted. `since`: from when on nothing may be written to the first."""

    rest: Scene
    taken_over: Scene
    begun: float
    polled: int

    @property
    def since(self) -> float:
        return self.begun + SETTLED_S


@pytest.fixture(scope="session")
def minutes(pytestconfig: pytest.Config) -> Iterator[Minutes]:
    """Both are Ready; the second's leader was killed with a standby beside it and two api pods too many."""
    with control_plane(built(minors()[0], pytestconfig)) as plane, plane.client() as client:
        install_crd(client)
        namespaces = new_namespace(client), new_namespace(client)
        with Scene(plane, namespaces[0]) as rest, Scene(plane, namespaces[1]) as taken_over:
            at_rest(rest)
            lose_the_leader(taken_over)
            yield Minutes(rest, taken_over, time.time(), polls(rest))


def at_rest(scene: Scene) -> None:
    """Everything a spec can have that moves with time, and nothing that does now."""
    scene.platform()
    scene.operator()
    night = {"name": "leap-day", "cron": "0 0 29 2 *", "duration": "1m", "min": 2}
    components = [quick(name, schedule=[night]) for name in COMPONENTS]
    scene.apply(components=components, budget={"maxReplicaHours": 10_000, "per": "Month"})
    scene.ready()


def lose_the_leader(scene: Scene) -> None:
    """Watched for `stableWindow` before a decrease: as long as with the defaults, which then wait for as long again."""
    scene.platform(api=3)
    leader = scene.operator()
    patient = {"stableWindow": f"{MINUTES_S}s", "scaleDown": {"stabilizationWindow": "0s"}}
    scene.apply(components=[{"name": name, "behavior": patient} for name in COMPONENTS])
    scene.ready()
    standby = scene.operator()
    scene.until(lambda: scene.asked(standby, "/readyz").status_code == 200)
    scene.kill(leader)


def polls(scene: Scene) -> int:
    return sum(voice.seq for voice in scene.control.voices.values())


def at(event: Object) -> float:
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


@pytest.mark.begins
def test_five_minutes_begin(minutes):
    """An object is Ready and at rest; another one's standby is about to take over."""
    assert minutes.rest.condition("Ready")[0] == "True"
    assert minutes.rest.status()["budget"]["state"] == "Ok"
    assert minutes.taken_over.replicas("api") == 3


@pytest.mark.ends
@LIMIT
def test_promise_an_idle_object_costs_no_write_in_five_minutes(minutes, promise):
    """The API server's audit log has not one write of the operator's account but the Lease's; it has polled all along."""
    scene = minutes.rest
    time.sleep(max(0.0, minutes.since + MINUTES_S - time.time()))  # the five minutes themselves
    until = minutes.since + MINUTES_S
    asked = [event for event in scene.audited() if minutes.since <= at(event) <= until]
    counted = Counter(f"{event['verb']} {event['objectRef']['resource']}" for event in asked if "objectRef" in event)
    rounds = (polls(scene) - minutes.polled) / len(scene.control.voices)
    period = (time.time() - minutes.begun) / max(rounds, 1)
    print(f"\n{MINUTES_S} s at rest: {dict(counted)}; each pod polled {rounds:.0f} times")
    written = [
        (f"+{at(event) - minutes.since:.0f} s", event["requestURI"]) for event in asked if event["verb"] not in READS
    ]
    written = [entry for entry in written if "/leases/" not in entry[1]]
    print(written)
    promise("idle object: writes in 300 s", len(written))
    assert counted["update leases"] >= MINUTES_S / 3
    promise("decision period", period)
    assert period >= 0.6  # the pace, ten percent of it by chance, and changes of its own
    assert [process.poll() for process in scene.processes] == [None]


@pytest.mark.ends
@LIMIT
def test_promise_a_new_leader_lowers_nothing_for_five_minutes(minutes, promise):
    """Two pods too many, and no load: the first goes when it was watched for the whole stabilization window, and then soon."""
    scene = minutes.taken_over
    lease = scene.client.do(
        "GET", f"/apis/coordination.k8s.io/v1/namespaces/{scene.namespace}/leases/scalable-api-operator"
    )
    led = datetime.fromisoformat(lease["spec"]["acquireTime"]).timestamp()
    left = max(0.0, led + MINUTES_S - time.time())
    scene.until(lambda: scene.replicas("api") < 3, left + GONE_S, "one went")
    scaled = [at(event) for event in scene.audited(writes=True) if event["objectRef"].get("subresource") == "scale"]
    print(f"\ntaken over → first decrease: {scaled[0] - led:.0f} s")
    promise("decreases in the 300 s after", sum(moment - led < MINUTES_S for moment in scaled))
    assert lease["spec"]["leaseTransitions"] == 2
    assert [note for reason, note in scene.events() if reason == "ScaledDown" and re.match("api 3→", note)]
