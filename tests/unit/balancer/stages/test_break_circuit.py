"""Permits and verdicts: what counts against an endpoint, and that every permit comes back."""

from __future__ import annotations

from typing import Any

import pytest

from services.balancer.endpoints import ABORTED, HEALTHY, STARTING, Endpoint
from services.core.breaker import CLOSED, CUT, OPEN, SUCCESS
from services.http1 import runner
from tests.unit.balancer.fakes import Bench


def ask_until_open(bench: Bench, status: int, **special: Any) -> Endpoint:
    """Five such answers of one endpoint to requests that are not repeated."""
    endpoint = bench.endpoint("api-1")
    for _ in range(5):
        x = bench.send(b"POST")
        while x.endpoint is not endpoint:
            bench.answer(x)
            x = bench.send(b"POST")
        bench.answer(x, status, **special)
    return endpoint


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_failures(status: int) -> None:
    """500, 502, 504 and a bare 503 are failures of the endpoint: five in a row open its breaker."""
    endpoint = ask_until_open(Bench(3), status)
    assert (endpoint.switch.state, endpoint.failures) == (OPEN, 5)
    assert endpoint.last_error == f"status {status}"


@pytest.mark.parametrize("status", [200, 404, 429, 501])
async def test_no_failures(status: int) -> None:
    """Client errors and 501 say nothing against the endpoint."""
    endpoint = ask_until_open(Bench(3), status)
    assert (endpoint.switch.state, endpoint.failures, endpoint.switch.succeeded >= 5) == (CLOSED, 0, True)


async def test_overload_is_no_failure() -> None:
    """A 503 that says when to come back is overload."""
    endpoint = ask_until_open(Bench(3), 503, retry_after=b"1")
    assert (endpoint.switch.state, endpoint.failures) == (CLOSED, 0)


async def test_a_502_that_names_the_failing_next_hop_is_no_failure() -> None:
    """An endpoint that works and reports its own dependency keeps its breaker closed, and no other endpoint is asked:
    that would only ask the dependency again. The same field excuses no other status.
    """
    bench = Bench(3)
    endpoint = ask_until_open(bench, 502, proxy_status=b"api-1; error=destination_unavailable")
    assert (endpoint.switch.state, endpoint.failures, endpoint.last_error) == (CLOSED, 0, "")
    x = bench.send()
    bench.answer(x, 502, proxy_status=b"api-1; error=destination_unavailable")
    assert (x.tries, x.status) == (1, 502)
    assert ask_until_open(Bench(3), 500, proxy_status=b"api-1; error=destination_unavailable").switch.state == OPEN


async def test_deadlines_and_bad_answers_open_it_resets_alone_do_not() -> None:
    """A deadline or an invalid answer counts in the row; a reset counts in the window only."""
    for kind, state in (("deadline", OPEN), ("upstream_invalid", OPEN), ("upstream_reset", CLOSED)):
        bench = Bench(3)
        endpoint = bench.endpoint("api-1")
        for _ in range(5):
            x = bench.send(b"POST")
            while x.endpoint is not endpoint:
                bench.answer(x)
                x = bench.send(b"POST")
            bench.fail(x, kind)
        assert endpoint.switch.state == state
        assert endpoint.switch.failed == 5


async def test_failed_connects_say_nothing_about_answers() -> None:
    """The breaker hears no verdict; connect backoff and state handle it."""
    bench = Bench(1)
    x = bench.send()
    endpoint: Endpoint = x.endpoint
    bench.fail(x, "connect_failed", sent=False)
    assert endpoint.switch.calls == 0
    assert endpoint.requests == 0


async def test_load_and_time_are_read_from_answers() -> None:
    """X-Api-Load sets the utilisation, the time to head the cost; junk is ignored; the slow class is left out."""
    bench = Bench(1)
    endpoint = bench.all[0]
    bench.answer(bench.send(), seconds=0.25, x_api_load=b"80")
    assert (endpoint.util, endpoint.cost) == (0.8, 0.25)
    for junk in (b"-5", b"1000", b"x"):
        bench.answer(bench.send(), x_api_load=junk)
    assert endpoint.util == 0.8
    bench.answer(bench.send(), x_api_load=b"250")
    assert endpoint.util == 1.0
    cost = endpoint.cost
    bench.answer(bench.send(b"POST", b"/api/v1/auth/login"), seconds=3.0)
    assert endpoint.cost == cost
    bench.answer(bench.send(b"POST"), 500, seconds=0.0001)
    assert endpoint.cost == cost


async def test_a_good_answer_ends_probation_and_start() -> None:
    """The first success: more than one request at a time again, and healthy if it was starting."""
    bench = Bench(1)
    endpoint = bench.all[0]
    endpoint.state, endpoint.probation = STARTING, True
    bench.answer(bench.send())
    assert (endpoint.state, endpoint.probation) == (HEALTHY, False)


async def test_a_leaving_endpoint_is_looked_at() -> None:
    """`Connection: close` on an answer asks for a probe at once."""
    bench = Bench(1)
    bench.answer(bench.send())
    assert not bench.all[0].wake.is_set()
    bench.answer(bench.send(), connection=b"close")
    assert bench.all[0].wake.is_set()


async def test_a_cut_body_is_a_reset() -> None:
    """The head was fine, the body was not whole: a cut, told when it is known."""
    bench = Bench(1)
    endpoint = bench.all[0]
    x = bench.send()
    x.head = object()  # type: ignore[assignment]  # any head
    assert endpoint.active == 1
    x.connection.cut(x)
    assert endpoint.active == 0
    assert (endpoint.outcomes[CUT], endpoint.switch.failed, endpoint.last_error) == (1, 1, "answer cut short")


async def test_a_client_that_left_is_no_verdict() -> None:
    """Nothing is held against the endpoint, and everything comes back."""
    bench = Bench(1)
    endpoint = bench.all[0]
    x = bench.send()
    x.reason = "client-gone"
    runner.finish(x)
    assert (endpoint.active, endpoint.outcomes[ABORTED], endpoint.switch.calls) == (0, 1, 0)
    bench.ask()
    assert endpoint.outcomes[SUCCESS] == 1


async def test_try_timeouts_count_against_the_state() -> None:
    """Two in a row: unhealthy."""
    bench = Bench(3)
    endpoint = bench.endpoint("api-1")
    for _ in range(2):
        x = bench.send()
        while x.endpoint is not endpoint:
            bench.answer(x)
            x = bench.send()
        bench.fail(x, "try_timeout")
        bench.answer(x)
    assert endpoint.state == "unhealthy"
    assert endpoint.last_error == "try timeout"
