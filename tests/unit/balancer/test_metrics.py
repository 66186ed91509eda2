"""The series of contract.md 8, after requests of every kind."""

from __future__ import annotations

from services.balancer.metrics import register
from tests.unit.balancer.fakes import Bench


async def test_series_count_what_happened() -> None:
    """N requests raise each counter by N; endpoints have their own labels; names and types are the contract's."""
    bench = Bench(2)
    register(bench.metrics, bench.fleet, bench.seconds, bench.measure, bench.retry, admission=bench.admission)
    for _ in range(10):
        bench.ask()
    bench.ask(method=b"POST", status=500)
    x = bench.send()
    bench.fail(x, "upstream_reset")
    bench.answer(x)
    bench.fleet.drain(bench.endpoint("api-2"), 60)
    text = bench.metrics.render("")[0].decode()
    for line in (
        'balancer_http_requests_total{method="GET",status="200"} 11.0',
        'balancer_http_requests_total{method="POST",status="500"} 1.0',
        'balancer_retries_total{reason="upstream_reset"} 1.0',
        'balancer_endpoints{state="healthy"} 1.0',
        'balancer_endpoints{state="draining"} 1.0',
        "balancer_in_flight 0.0",
        "balancer_panic 0.0",
        "balancer_queue_depth 0.0",
        "balancer_concurrency_limit 20.0",
        'balancer_breaker_state{name="api-1"} 0.0',
        'balancer_endpoint_in_flight{endpoint="api-1"} 0.0',
    ):
        assert line in text
    counted = {
        outcome: sum(endpoint.outcomes[place] for endpoint in bench.all)
        for place, outcome in enumerate(("success", "failure", "fault", "reset"))
    }
    assert counted == {"success": 11, "failure": 1, "fault": 0, "reset": 1}
    assert text.count("balancer_upstream_seconds_count") == 2


async def test_breaker_series() -> None:
    """Timeouts are told apart from failures; transitions count per state entered; unlabelled ones share `other`."""
    bench = Bench(2)
    register(bench.metrics, bench.fleet, bench.seconds, bench.measure, bench.retry, admission=bench.admission)
    x = bench.send(method=b"POST")
    name = x.endpoint.id
    bench.fail(x, "deadline")
    for _ in range(4):
        bench.endpoint(name).probation = False
        y = bench.send(method=b"POST")
        while y.endpoint.id != name:
            bench.answer(y)
            y = bench.send(method=b"POST")
        bench.answer(y, 500)
    text = bench.metrics.render("")[0].decode()
    assert f'balancer_breaker_calls_total{{name="{name}",result="timeout"}} 1.0' in text
    assert f'balancer_breaker_calls_total{{name="{name}",result="failure"}} 4.0' in text
    assert f'balancer_breaker_transitions_total{{name="{name}",to="open"}} 1.0' in text
    assert f'balancer_breaker_state{{name="{name}"}} 2.0' in text
    bench.seconds.labelled.clear()
    assert 'balancer_breaker_state{name="other"} 2.0' in bench.metrics.render("")[0].decode()
