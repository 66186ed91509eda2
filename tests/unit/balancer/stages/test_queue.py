"""Places for requests without an answer yet: who gets one, who waits, who is told to come later."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.balancer.stages.queue import FULL, TIMEOUT
from services.core.criticality import CRITICALITIES
from services.core.verdicts import Refusal
from services.http1 import runner
from services.http1.exchange import DONE, FORWARDED, PARKED_STATE, Exchange
from tests.harness.wait import eventually
from tests.unit.balancer.fakes import Bench, said


def crowded(limit: int = 2) -> tuple[Bench, list[Exchange]]:
    """All places taken."""
    bench = Bench(3)
    bench.admission.limit = limit
    return bench, [bench.send() for _ in range(limit)]


def ask(bench: Bench, criticality: str = "sheddable", path: bytes = b"/x") -> Exchange:
    return bench.send(path=path, x_gateway_class=criticality.encode())


async def test_a_place_goes_to_who_waits_when_a_head_has_come() -> None:
    """The highest class first, and the wait is measured; the body that follows holds no place."""
    bench, (first, second) = crowded()
    low, high = ask(bench), ask(bench, "critical")
    assert (low.state, high.state, bench.admission.queue.depth) == (PARKED_STATE, PARKED_STATE, 2)
    bench.answer(first)
    assert (low.state, high.state) == (PARKED_STATE, FORWARDED)
    bench.answer(second)
    assert low.state == FORWARDED
    assert sum(bench.admission._seconds.counts) == 2
    bench.answer(low)
    bench.answer(high)
    assert (bench.admission.in_flight, bench.measure.in_flight) == (0, 0)


async def test_a_failed_try_keeps_its_place() -> None:
    """The next one needs it; what ends without an answer gives it back."""
    bench, (first, second) = crowded()
    bench.fail(first, "upstream_reset")
    assert first.state == FORWARDED
    bench.answer(first, 502)
    assert bench.admission.in_flight == 2
    first.connection.cut(first)
    second.connection.cut(second)
    assert bench.admission.in_flight == 0


async def test_nobody_waits_longer_than_a_tenth_of_a_second() -> None:
    """503 with the reason and Retry-After; critical-plus goes on waiting."""
    bench, _held = crowded()
    x, important = ask(bench, "critical"), ask(bench, "critical-plus")
    start = monotonic()
    await eventually(lambda: x.state == DONE, 5, "the queue has turned it away", 0.001)
    assert monotonic() - start >= 0.09
    assert said(x) is TIMEOUT
    assert important.state == PARKED_STATE
    assert bench.admission.refused == {"queue-timeout": 1}
    standing = ask(bench, "critical")
    await eventually(lambda: standing.state == DONE, 5, "a standing queue is worth 5 ms", 0.001)
    important.connection.cut(important)
    assert bench.admission.queue.depth == 0


async def test_a_full_queue_and_classes() -> None:
    """No room: the newcomer goes, or the oldest of a lower class; an unknown class is the lowest."""
    bench, _held = crowded(1)
    waiting = [ask(bench, name) for name in ("sheddable", "rubbish", "sheddable-plus", "critical")]
    assert bench.admission.queue.depth == 4
    assert said(ask(bench)) is FULL
    later = ask(bench, "critical-plus")
    assert said(waiting[0]) is FULL
    assert (later.state, waiting[1].state) == (PARKED_STATE, PARKED_STATE)
    assert bench.admission.refused == {"queue-full": 2}


async def test_slow_routes_are_the_first_to_go_while_the_queue_stands() -> None:
    """During overload the latency class slow counts as sheddable."""
    bench, _held = crowded()
    ask(bench, "critical-plus")
    bench.admission.queue._fine_at -= 1
    slow = ask(bench, "critical", b"/api/v1/external")
    assert slow.limit.criticality == CRITICALITIES.index("sheddable")


async def test_too_late_already() -> None:
    """Less time left than an answer takes: 504 without a try, and the place goes to the next."""
    bench, (first, _second) = crowded()
    bench.fleet.gradient.typical_s = 0.05
    late, timely = ask(bench), ask(bench)
    late.deadline = monotonic() + 0.01
    bench.answer(first)
    out: Any = said(late)
    assert (out.slug, late.tries) == ("gateway-timeout", 0)
    assert timely.state == FORWARDED


async def test_a_client_that_is_gone_is_skipped() -> None:
    """It leaves its place in the queue."""
    bench, (first, _second) = crowded()
    gone, next_one = ask(bench), ask(bench)
    gone.reason = "client-gone"
    runner.finish(gone)
    bench.answer(first)
    assert next_one.state == FORWARDED
    assert gone.tries == 0


async def test_who_fails_at_once_leaves_its_place_to_the_next() -> None:
    """A thousand that find no endpoint do not grow a stack."""
    bench, (first, _second) = crowded(2)
    bench.admission.limit = 400
    bench.admission.in_flight = 400
    waiting = [ask(bench) for _ in range(1000)]
    bench.admission.in_flight = 399
    bench.fleet.sync(())
    bench.answer(first)
    slugs = {out.slug for x in waiting if isinstance(out := said(x), Refusal)}
    assert slugs == {"no-backend"}
    assert bench.admission.queue.depth == 0


async def test_the_limit_follows_the_endpoints() -> None:
    """Each tick: twenty per eligible endpoint at first; more places let in who waits."""
    bench, _held = crowded()
    x = ask(bench)
    bench.admission.tick(monotonic(), 3)
    assert bench.admission.limit == 60
    assert x.state == FORWARDED


async def test_good_fast_answers_teach() -> None:
    """Time to head of 2xx and 3xx of the class fast; not of errors, not of slow routes."""
    bench = Bench(3)
    gradient = bench.fleet.gradient
    for status in (200, 304, 404, 503):
        bench.answer(bench.send(), status, seconds=0.25, retry_after=b"1")
    bench.answer(bench.send(path=b"/api/v1/external"), seconds=5.0)
    assert (gradient.count, gradient.total_s) == (2, 0.5)


ACTS = st.lists(
    st.tuples(st.sampled_from(["send", "answer", "fail", "gone", "expire", "grow"]), st.integers(0, 3)), max_size=60
)


@settings(max_examples=60, deadline=None)
@given(ACTS, st.integers(1, 4))
async def test_invariant_25_slots_in_are_slots_out(acts: list[tuple[str, int]], limit: int) -> None:
    """Never more held than there are places, whatever happens; in the end all are free and nobody waits."""
    bench = Bench(3)
    bench.admission.limit = limit
    live: list[Exchange] = []
    for act, number in acts:
        live = [x for x in live if x.state != DONE]
        flying = [x for x in live if x.state == FORWARDED]
        if act == "send":
            live.append(ask(bench, CRITICALITIES[number]))
        elif act == "answer" and flying:
            bench.answer(flying[number % len(flying)])
        elif act == "fail" and flying:
            bench.fail(flying[number % len(flying)], "upstream_reset")
        elif act == "gone" and live:
            runner.finish(live[number % len(live)])
        elif act == "expire":
            bench.admission.queue._fine_at -= 1
            bench.admission._check()
        elif act == "grow":
            bench.admission.limit = limit + number
            bench.admission._move(monotonic())
        assert bench.admission.in_flight <= limit + 3
    for x in live:
        runner.finish(x)
    assert (bench.admission.in_flight, bench.admission.queue.depth) == (0, 0)
    assert bench.measure.in_flight == 0
    await asyncio.sleep(0)
