"""The fleet: who may be picked after each report, panic, caps, drains, outliers."""

from __future__ import annotations

from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.balancer.endpoints import DISABLED, DRAINING, EJECTED, HEALTHY, STARTING, UNHEALTHY, Endpoint
from services.core.breaker import CLOSED, HALF_OPEN, OPEN, STATUS_FAILURE, SUCCESS, BreakerConfig
from services.core.verdicts import Refusal
from services.runtime.endpoints import EndpointInfo
from tests.unit.balancer.fakes import Bench, infos, said, way


def targets(bench: Bench) -> set[str]:
    return {target.id for target in bench.fleet.chooser.targets}


def probe(bench: Bench, name: str, *, good: int = 0, bad: int = 0) -> None:
    for result in [True] * good or [False] * bad:
        bench.fleet.probed(bench.endpoint(name), good=result, draining=False, error="/ready answered 500")


def open_breaker(bench: Bench, name: str, outcome: int = STATUS_FAILURE) -> Endpoint:
    endpoint, now = bench.endpoint(name), monotonic()
    for _ in range(5):
        endpoint.switch.record(endpoint.switch.admit(now), outcome, now, 0.0)
    return endpoint


async def test_invariant_33() -> None:
    """A new answer of discovery keeps known endpoints with all that is in flight; gone ones finish what they have."""
    bench = Bench(3)
    kept, x = bench.endpoint("api-1"), bench.send()
    holder: Endpoint = x.endpoint
    bench.fleet.sync((infos(1)[0], EndpointInfo("api-9", "127.0.0.1", 4009)))
    assert bench.endpoint("api-1") is kept
    assert holder.active == 1
    assert bench.answer(x)
    assert holder.active == 0
    assert bench.measure.in_flight == 0
    assert targets(bench) == {"api-1", "api-9"}


async def test_gone_endpoints_retire() -> None:
    """Their pools take no more, their probes end, their names leave the metrics; a new id on a port is another one."""
    bench = Bench(2)
    gone, joined, left = bench.endpoint("api-2"), list[str](), list[str]()
    bench.fleet.on_joined = lambda endpoint: joined.append(endpoint.id)
    bench.fleet.on_left = lambda endpoint: left.append(endpoint.id)
    bench.fleet.sync((infos(1)[0], EndpointInfo("api-3", "127.0.0.1", 4002)))
    assert way(gone).retired
    assert (joined, left) == (["api-3"], ["api-2"])
    assert bench.seconds.labelled == {"api-1", "api-3"}
    assert bench.endpoint("api-3").state == STARTING
    assert bench.fleet.find("api-2") is None


async def test_weights_follow_discovery() -> None:
    """A weight that changes is used from the next refresh on."""
    bench = Bench(2)
    bench.fleet.sync(infos(2, weight=4.0))
    assert [endpoint.weight for endpoint in bench.all] == [4.0, 4.0]


async def test_unhealthy_ones_are_left_out() -> None:
    """Three failed probes take an endpoint out, two good ones bring it back, each with an event."""
    bench = Bench(3)
    probe(bench, "api-1", bad=3)
    assert targets(bench) == {"api-2", "api-3"}
    assert bench.fleet.healthy == 2
    assert bench.fleet.ejections["probe"] == 1
    assert bench.endpoint("api-1").last_error == "/ready answered 500"
    probe(bench, "api-1", good=2)
    assert targets(bench) == {"api-1", "api-2", "api-3"}
    assert [event.kind for event in bench.events.latest] == ["endpoint.unhealthy", "endpoint.healthy"]


async def test_failed_connects() -> None:
    """One blocks an endpoint for its backoff and asks for a probe at once; two in a row take it out of service."""
    bench = Bench(3)
    endpoint = bench.endpoint("api-1")
    way(endpoint).connected(ok=False)
    assert endpoint.blocked_until > monotonic()
    assert not endpoint.takes(monotonic())
    assert endpoint.wake.is_set()
    assert endpoint.state == HEALTHY
    bench.fleet.succeeded(endpoint, monotonic())
    way(endpoint).connected(ok=False)
    assert endpoint.state == HEALTHY
    way(endpoint).connected(ok=True)
    way(endpoint).connected(ok=False)
    assert endpoint.state == UNHEALTHY
    assert bench.fleet.ejections["connect"] == 1


async def test_old_fault_10e() -> None:
    """All unhealthy: panic, more than the first one is used; all drained: 503 no-backend."""
    bench = Bench(3)
    for name in ("api-1", "api-2", "api-3"):
        probe(bench, name, bad=3)
    assert bench.fleet.panic
    assert len({bench.ask().endpoint.id for _ in range(60)}) == 3
    for endpoint in bench.all:
        bench.fleet.drain(endpoint, 60)
    refusal = said(bench.send())
    assert isinstance(refusal, Refusal)
    assert (refusal.slug, refusal.retry_after_s) == ("no-backend", 1)


async def test_panic_starts_below_half() -> None:
    """Two of four are enough, one of four is not; drained ones do not count; back above half it ends."""
    bench = Bench(4)
    probe(bench, "api-1", bad=3)
    probe(bench, "api-2", bad=3)
    assert bool(bench.fleet.panic) is False
    probe(bench, "api-3", bad=3)
    assert bool(bench.fleet.panic) is True
    assert targets(bench) == {"api-1", "api-2", "api-3", "api-4"}
    bench.fleet.drain(bench.endpoint("api-1"), 60)
    assert targets(bench) == {"api-2", "api-3", "api-4"}
    bench.fleet.drain(bench.endpoint("api-2"), 60)
    assert not bench.fleet.panic
    assert targets(bench) == {"api-4"}


async def test_draining_by_discovery_and_by_ready() -> None:
    """Both keep new requests away; it ends when the cause is over, and starts slowly then."""
    bench = Bench(3)
    bench.fleet.sync((*infos(2), EndpointInfo("api-3", "127.0.0.1", 4003, draining=True)))
    bench.fleet.probed(bench.endpoint("api-2"), good=False, draining=True, error="")
    assert targets(bench) == {"api-1"}
    assert bench.fleet.counts()[DRAINING] == 2
    bench.fleet.sync(infos(3))
    assert bench.endpoint("api-3").state == STARTING
    probe(bench, "api-2", good=1)
    assert bench.endpoint("api-2").state == HEALTHY
    assert bench.endpoint("api-2").probation
    assert targets(bench) == {"api-1", "api-2", "api-3"}


async def test_old_fault_10g() -> None:
    """A drained endpoint gets no new request and finishes its old ones; then it is disabled, until enabled or time is
    over.
    """
    bench = Bench(2)
    x = bench.send()
    drained: Endpoint = x.endpoint
    bench.fleet.drain(drained, 60)
    assert {bench.ask().endpoint.id for _ in range(20)} == {endpoint.id for endpoint in bench.all} - {drained.id}
    bench.fleet.tick(monotonic())
    assert drained.state == DRAINING
    assert bench.answer(x)
    bench.fleet.tick(monotonic())
    assert drained.state == DISABLED
    bench.fleet.enable(drained)
    assert drained.state == STARTING
    assert drained.wake.is_set()
    bench.fleet.drain(drained, 5)
    bench.fleet.tick(monotonic() + 5)
    assert drained.state == STARTING
    assert drained.drain_until == 0.0


async def test_breakers_leave_and_come_back() -> None:
    """An open breaker takes its endpoint out of the draws; closing one starts it slowly."""
    bench = Bench(3)
    endpoint = open_breaker(bench, "api-1")
    assert endpoint.switch.state == OPEN
    assert {bench.ask().endpoint.id for _ in range(40)} == {"api-2", "api-3"}
    later = endpoint.switch.until
    bench.fleet.chooser.refresh(later)
    for _ in range(3):
        endpoint.switch.record(endpoint.switch.admit(later), SUCCESS, later, 0.0)
    assert endpoint.switch.state == CLOSED
    assert (endpoint.ready_at, endpoint.probation) == (later, False)
    assert bench.fleet.transitions == {("api-1", "open"): 1, ("api-1", "half-open"): 1, ("api-1", "closed"): 1}


async def test_old_fault_9() -> None:
    """A breaker half-opens after its open time without other endpoints failing, and closes after three good answers."""
    bench = Bench(3)
    endpoint = open_breaker(bench, "api-1")
    later = endpoint.switch.until
    bench.fleet.tick(later)
    assert endpoint.takes(later)
    states = []
    for _ in range(3):
        permit = endpoint.switch.admit(later)
        states.append(endpoint.switch.state)
        endpoint.switch.record(permit, SUCCESS, later, 0.0)
    assert states == [HALF_OPEN] * 3
    assert endpoint.switch.state == CLOSED
    assert all(other.switch.failed == 0 for other in bench.all if other is not endpoint)


async def test_status_failures_are_capped() -> None:
    """One route that answers 500 must not take the api away: half of the endpoints stay, whatever they answer."""
    bench = Bench(4)
    for name in ("api-1", "api-2", "api-3", "api-4"):
        open_breaker(bench, name)
    assert [endpoint.switch.state for endpoint in bench.all] == [OPEN, OPEN, CLOSED, CLOSED]
    bench.endpoint("api-1").switch.reset(monotonic())
    open_breaker(bench, "api-3")
    assert bench.endpoint("api-3").switch.state == OPEN


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(0, 100),
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["500", "ok", "reset", "wait", "leave"])), max_size=80),
)
async def test_invariant_31(count: int, percent: int, steps: list[tuple[int, str]]) -> None:
    """Ejected and open by status failures together never exceed the cap, unless endpoints were taken away since."""
    bench = Bench(count)
    bench.fleet.configure(BreakerConfig(failure_threshold=1, open_s=10), percent)
    now = monotonic()
    for place, what in steps:
        endpoint = bench.all[place % len(bench.all)]
        if what == "wait":
            now += 11
        elif what == "reset":
            endpoint.switch.reset(now)
        elif permit := endpoint.switch.admit(now):
            endpoint.switch.record(permit, STATUS_FAILURE if what == "500" else SUCCESS, now, 0.0)
        away = sum(one.switch.by_status and one.switch.state != CLOSED for one in bench.all)
        assert away <= max(1, count * percent // 100)


async def test_outliers_rest() -> None:
    """Among five, one that fails is ejected for 30 s, the next time for 60; a clean interval takes one time off."""
    bench = Bench(5)
    bad = bench.endpoint("api-5")

    def interval(failures: int) -> None:
        for endpoint in bench.all:
            endpoint.requests += 200
        bad.failures += failures
        bench.fleet.eject_outliers(now)

    now = monotonic()
    interval(200)
    assert (bad.state, bad.ejected_until, bad.ejections) == (EJECTED, now + 30, 1)
    assert targets(bench) == {"api-1", "api-2", "api-3", "api-4"}
    bench.fleet.tick(now + 29)
    assert bad.state == EJECTED
    now += 30
    bench.fleet.tick(now)
    assert (bad.state, bad.probation) == (HEALTHY, True)
    interval(200)
    assert (bad.ejected_until, bad.ejections) == (now + 60, 2)
    now += 60
    bench.fleet.tick(now)
    interval(0)
    assert bad.ejections == 1
    assert bench.fleet.ejections["outlier"] == 2


async def test_forces_end_by_themselves() -> None:
    """A force whose time is over is lifted by the tick, so that the shown state is right without traffic."""
    bench = Bench(2)
    breaker, now = bench.endpoint("api-1").switch, monotonic()
    breaker.force("open", now + 5, "test", now)
    bench.fleet.tick(now + 4)
    assert breaker.forced == "open"
    bench.fleet.tick(now + 5)
    assert (breaker.forced, breaker.state) == ("", CLOSED)


async def test_nobody_left() -> None:
    """503 circuit-open names the breaker that half-opens first, with its wait as Retry-After, 30 s at most."""
    bench = Bench(1)
    endpoint = open_breaker(bench, "api-1")
    refusal = said(bench.send())
    assert isinstance(refusal, Refusal)
    assert (refusal.slug, refusal.facts) == ("circuit-open", {"breaker": "api-1", "circuitState": "open"})
    assert refusal.retry_after_s == 30
    assert endpoint.switch.rejected == 1
    bench.fleet.nobody(monotonic(), asked=False)
    assert endpoint.switch.rejected == 1
    assert bench.fleet.nobody(endpoint.switch.until - 2.5, asked=False).retry_after_s == 3


async def test_rates() -> None:
    """Requests of the last full second, and the pools' try timeout."""
    bench = Bench(2)
    for _ in range(30):
        bench.ask()
    bench.fleet.second(monotonic(), 2.0)
    assert sum(endpoint.rps for endpoint in bench.all) == pytest.approx(15.0)
    bench.fleet.tick(monotonic())
    assert (bench.fleet.timeout.seconds, bench.fleet.try_limit_s) == (0.25, 0.25)


async def test_a_good_probe_says_nothing_while_another_cause_drains() -> None:
    """Drained by hand stays drained, whatever its probes say."""
    bench = Bench(2)
    endpoint = bench.endpoint("api-1")
    bench.fleet.drain(endpoint, 60)
    probe(bench, "api-1", good=3)
    assert endpoint.state == DRAINING
    x = bench.send()
    assert x.endpoint is bench.endpoint("api-2")
