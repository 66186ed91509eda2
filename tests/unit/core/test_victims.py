"""Who goes: P13 and the order of operator.md §5.6 V0."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.core.victims import Candidate, pick


def test_the_order():
    """Not ready first; then stale tiers, fewest in flight, most siblings, most restarts, youngest, name."""
    pods = [
        Candidate("name-b", ready=True),
        Candidate("name-a", ready=True),
        Candidate("young", ready=True, started_at_ms=9),
        Candidate("restarts", ready=True, restarts=1),
        Candidate("siblings", ready=True, siblings=1),
        Candidate("busy", ready=True, in_flight=5, siblings=9),
        Candidate("stale", ready=True, in_flight=9, tiers_stale=True),
        Candidate("starting", ready=False),
        Candidate("pending", ready=False, running=False),
    ]
    going = []
    while pods:
        name = pick(pods, 1, floor=0, draining=0)[0]
        going.append(name)
        pods = [pod for pod in pods if pod.name != name]
    assert going == [
        "pending", "starting", "stale", "siblings", "restarts", "young", "name-a", "name-b", "busy",
    ]  # fmt: skip


def test_a_quarter_at_once():
    """Eight running: two at once, those that drain already included; one may always drain."""
    pods = [Candidate(f"p{n}", ready=True) for n in range(8)]
    assert len(pick(pods, 8, floor=0, draining=0)) == 2
    assert len(pick(pods, 8, floor=0, draining=1)) == 1
    assert pick(pods, 8, floor=0, draining=2) == ()
    assert len(pick(pods[:2], 2, floor=0, draining=0)) == 1


def test_protected_pods_stay():
    """The annotation keeps a pod, not the count of the others."""
    assert pick([Candidate("a", ready=True, protected=True)], 1, floor=0, draining=0) == ()


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        name=st.text("abcdef", min_size=1, max_size=6),
        ready=st.booleans(),
        in_flight=st.integers(0, 3),
        protected=st.booleans(),
    ),
    unique_by=lambda pod: pod.name,
    max_size=20,
)


@given(CANDIDATES, st.integers(-1, 25), st.integers(0, 10), st.integers(0, 5))
def test_p13_victims_are_ours_few_and_leave_the_floor(pods, count, floor, draining):
    """Victims are among the pods, at most `count`, and at least `floor` ready ones stay if there were that many."""
    victims = set(pick(pods, count, floor=floor, draining=draining))
    assert victims <= {pod.name for pod in pods if not pod.protected}
    assert len(victims) <= max(0, count)
    ready = {pod.name for pod in pods if pod.ready}
    assert len(ready - victims) >= min(floor, len(ready))


@given(CANDIDATES, st.randoms())
def test_p9_the_order_of_pods_does_not_matter(pods, random):
    """The same pods in any order: the same victims."""
    turned = list(pods)
    random.shuffle(turned)
    assert pick(pods, 3, floor=1, draining=0) == pick(turned, 3, floor=1, draining=0)
