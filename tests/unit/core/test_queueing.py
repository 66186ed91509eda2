"""Who waits, whose turn it is, who goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.criticality import CRITICAL_PLUS
from services.core.queueing import PATIENCE_S, STANDING_PATIENCE_S, Queue, Waiter, room


def filled(*classes: int, at: float = 0.0, apart_s: float = 0.0) -> tuple[Queue[str], list[Waiter[str]]]:
    queue: Queue[str] = Queue()
    waiters = []
    for number, criticality in enumerate(classes):
        waiter, evicted = queue.join(f"r{number}", criticality, at + number * apart_s, 100)
        assert waiter is not None
        assert evicted is None
        waiters.append(waiter)
    return queue, waiters


def order(queue: Queue[str], now: float) -> list[str]:
    found = []
    while (waiter := queue.take(now)) is not None:
        found.append(waiter.item)
    return found


def test_the_highest_class_first_then_who_came_first() -> None:
    """Normally a class is first in, first out."""
    queue, _ = filled(0, 3, 1, 0, 3, 2)
    assert order(queue, 0.05) == ["r1", "r4", "r5", "r2", "r0", "r3"]
    assert queue.depth == 0
    assert queue.take(0.05) is None


def test_a_queue_stands_when_for_long_nobody_was_let_in_soon() -> None:
    """100 ms in which whoever is next has always waited 5 ms; it is over when for 100 ms nobody was turned away."""
    queue, _ = filled(*[0] * 30, at=1.0, apart_s=0.001)
    assert not queue.standing(1.09)
    assert queue.take(1.09) is not None
    assert queue.standing(1.1)
    assert len(queue.expire(1.1)) == 29
    queue.join("later", 0, 1.15, 1)
    assert queue.join("more", 0, 1.19, 1) == (None, None)
    assert queue.standing(1.28)
    assert not queue.standing(1.29)
    assert Queue[str]().standing(50.0) is False


def test_a_few_more_than_places_do_not_make_it_stand() -> None:
    """Sixty-four steady clients at sixty places: each waits a moment, nobody is turned away, for seconds."""
    queue: Queue[int] = Queue()
    for number in range(4):
        queue.join(number, 0, 1.0, 240)
    for step in range(40_000):
        now = 1.0 + step * 0.0001
        assert queue.take(now) is not None
        queue.join(step, 0, now, 240)
        assert queue.expire(now) == []
    assert not queue.standing(now)


def test_nobody_waits_too_long() -> None:
    """100 ms while the queue is young, 5 ms once it stands; critical-plus has its deadline alone."""
    queue, _ = filled(0, 3, 1, apart_s=0.01)
    assert queue.check_in_s(0.0) == pytest.approx(PATIENCE_S)
    assert queue.expire(0.0999) == []
    assert [waiter.item for waiter in queue.expire(0.1)] == ["r0", "r2"]
    assert queue.depth == 1
    queue.join("late", 1, 0.15, 100)
    assert queue.check_in_s(0.153) == pytest.approx(0.002)
    assert queue.expire(0.1549) == []
    assert [waiter.item for waiter in queue.expire(0.1551)] == ["late"]
    assert queue.check_in_s(0.16) == pytest.approx(STANDING_PATIENCE_S)
    assert queue.oldest_s(0.3) == pytest.approx(0.29)
    assert Queue[str]().oldest_s(5.0) == 0.0


def test_a_full_queue() -> None:
    """The oldest of the lowest class gives way to a higher one; without one the newcomer has no place."""
    queue, waiters = filled(1, 0, 0)
    assert queue.join("new", 0, 1.0, 3) == (None, None)
    place, evicted = queue.join("new", 1, 1.0, 3)
    assert place is not None
    assert evicted is waiters[1]
    assert queue.join("c", 3, 1.0, 3)[1] is waiters[2]
    assert queue.join("c", 3, 1.0, 3)[1] is waiters[0]
    assert queue.depth == 3
    assert queue.join("s", 1, 1.0, 3) == (None, None)


def test_leaving() -> None:
    """A client that is gone waits no more; leaving twice changes nothing."""
    queue, waiters = filled(2, 2)
    queue.leave(waiters[0])
    queue.leave(waiters[0])
    assert queue.depth == 1
    assert order(queue, 0.0) == ["r1"]


@pytest.mark.parametrize(("limit", "places"), [(4, 16), (60.7, 242), (600, 2048)])
def test_room(limit: float, places: int) -> None:
    """Four per place, at most 2 048."""
    assert room(limit) == places


STEPS = st.lists(
    st.tuples(st.sampled_from(["join", "take", "leave", "expire"]), st.integers(0, 3), st.floats(0, 0.06)), max_size=80
)


@given(STEPS, st.integers(1, 6))
def test_invariants_22_and_25(steps: list[tuple[str, int, float]], places: int) -> None:
    """Nobody gives way while a lower class waits, critical-plus only to itself; who joined comes out exactly once; no
    one below critical-plus is left past its bound; the depth never exceeds the room.
    """
    queue: Queue[int] = Queue()
    waiting: dict[int, Waiter[int]] = {}
    now = 0.0
    for number, (step, criticality, passed) in enumerate(steps):
        now += passed
        if step == "join":
            lowest = min((waiter.criticality for waiter in waiting.values()), default=9)
            place, evicted = queue.join(number, criticality, now, places)
            if evicted is not None:
                assert evicted.criticality == lowest < criticality
                assert waiting.pop(evicted.item) is evicted
            if place is None:
                assert criticality <= lowest
            else:
                waiting[number] = place
        elif step == "take":
            taken = queue.take(now)
            assert (taken is None) == (not waiting)
            if taken is not None:
                assert taken.criticality == max(waiter.criticality for waiter in waiting.values())
                assert waiting.pop(taken.item) is taken
        elif step == "leave" and waiting:
            queue.leave(waiting.pop(next(iter(waiting))))
        elif step == "expire":
            bound = STANDING_PATIENCE_S if queue.standing(now) else PATIENCE_S
            for waiter in queue.expire(now):
                assert waiting.pop(waiter.item).criticality != CRITICAL_PLUS
            assert all(w.at > now - bound or w.criticality == CRITICAL_PLUS for w in waiting.values())
            assert not waiting or queue.check_in_s(now) >= 0
        assert queue.depth == len(waiting) <= places
