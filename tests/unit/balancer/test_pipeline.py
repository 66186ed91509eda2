"""The path as a whole, without sockets: whatever happens to an exchange, everything it held comes back."""

from __future__ import annotations

from time import monotonic

from hypothesis import given, settings
from hypothesis import strategies as st

from services.balancer.pipeline import PICK_AT
from services.balancer.stages.pick import Pick
from services.core.verdicts import Answer, Refusal
from services.http1 import runner
from services.http1.exchange import DONE, FORWARDED, Exchange
from tests.unit.balancer.fakes import Bench, said, way


async def test_the_path_is_in_order() -> None:
    """`PICK_AT` is where `pick` stands: that is where another try begins."""
    bench = Bench(1)
    names = [getattr(stage, "__qualname__", "") for stage in bench.pipeline.stages]
    assert names == [
        "trace",
        "Route.route",
        "Measure.enter",
        "expire",
        "Admission.enter",
        "Pick.pick",
        "BreakCircuit.enter",
        "Retry.arm",
        "Forward.forward",
    ]
    assert names[PICK_AT] == Pick.pick.__qualname__


async def test_health_is_answered_here_and_not_counted() -> None:
    """Never forwarded, not in flight, not in the request counts; own answers say who made them."""
    bench = Bench(1, own={b"/health": lambda: Answer(200, (), b"{}")})
    x = bench.send(path=b"/health")
    assert said(x) == Answer(200, (), b"{}")
    assert x.extra == [b"X-Served-By: lb-1\r\nX-Request-ID: %b\r\n" % x.request_id]
    assert (bench.measure.in_flight, bench.traffic.requests) == (0, 0)
    assert way(bench.all[0]).started == []


async def test_malformed_requests_are_counted() -> None:
    """A request the engine refuses has an id and is in the counts."""
    bench = Bench(1)
    x = bench.exchange()
    x.fault = Refusal("bad-request", "host")
    runner.start(x)
    assert x.request_id
    assert (bench.measure.in_flight, bench.traffic.requests) == (0, 1)


ACTS = st.sampled_from(
    ["200", "404", "500", "502", "503", "connect_failed", "upstream_reset", "try_timeout", "deadline", "gone", "cut"]
)
METHODS = st.sampled_from([b"GET", b"POST", b"PUT"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(METHODS, st.lists(ACTS, min_size=1, max_size=5)), max_size=25), st.integers(1, 4))
async def test_invariants_30_and_32(requests: list[tuple[bytes, list[str]]], count: int) -> None:
    """At most three tries each; nothing non-idempotent is written twice; no in-flight count or half-open slot leaks."""
    bench = Bench(count)
    for method, acts in requests:
        x = bench.send(method)
        written = 0
        for act in acts:
            if x.state != FORWARDED:
                break
            written += act != "connect_failed"
            _act(bench, x, act)
        if x.state != DONE:
            x.connection.cut(x)
        assert x.tries <= 3
        if method == b"POST":
            assert written <= 1
        for endpoint in bench.all:
            endpoint.blocked_until = 0.0
    assert bench.measure.in_flight == bench.admission.in_flight == 0
    for endpoint in bench.all:
        assert endpoint.active == 0
        assert endpoint.switch._in_flight == 0
        assert endpoint.switch.calls == sum(endpoint.outcomes[place] for place in (0, 1, 2, 3, 6, 7))
    tries = sum(len(way(endpoint).started) for endpoint in bench.all)
    assert tries <= 1.2 * len(requests) + 100


def _act(bench: Bench, x: Exchange, act: str) -> None:
    if act == "gone":
        x.reason = "client-gone"
        runner.finish(x)
    elif act == "cut":
        x.connection.cut(x)
    elif act.isdigit():
        bench.answer(x, int(act))
    else:
        bench.fail(x, act, sent=act != "connect_failed")
        if x.state not in {FORWARDED, DONE}:  # the second retry waits: its time comes
            runner.rewind(x, PICK_AT, x.ticket)


async def test_a_lost_slot_goes_back_to_pick() -> None:
    """Who finds the breaker closed to it after all is sent elsewhere, and the first endpoint is excluded."""
    bench = Bench(2)
    x = bench.exchange()
    first = bench.endpoint("api-1")
    x.endpoint, x.at = first, PICK_AT + 1
    first.switch.force("open", monotonic() + 60, "test", monotonic())
    x.state = 1
    runner.run(x)
    assert x.endpoint is bench.endpoint("api-2")
    assert x.excluded == (first,)
    assert bench.answer(x)
    assert [endpoint.active for endpoint in bench.all] == [0, 0]
