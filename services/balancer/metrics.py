"""The balancer's series of contract.md 8, read from the stages' and endpoints' plain numbers at scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from services.balancer.endpoints import DEADLINE, OUTCOMES, TRY_TIMEOUT, Endpoint
from services.balancer.fleet import Fleet
from services.balancer.series import Seconds
from services.balancer.stages.measure import Measure
from services.balancer.stages.queue import Admission
from services.balancer.stages.retry import Retry
from services.runtime.metrics import Metrics

Labelled = dict[tuple[str, ...], float]


def register(
    metrics: Metrics, fleet: Fleet, seconds: Seconds, measure: Measure, retry: Retry, *, admission: Admission
) -> None:
    """Once, after wiring; all but the histograms are functions asked at scrape."""
    metrics.counting("http_requests_total", "Answers by method and status", measure.totals, ("method", "status"))
    metrics.gauge("in_flight", "Requests in this process", lambda: float(measure.in_flight))
    metrics.counting(
        "retries_total", "Tries after a first one, by what failed", lambda: _keyed(retry.retries), ("reason",)
    )
    metrics.gauge("retry_budget_tokens", "Retries that may be paid for now", lambda: fleet.budget.tokens)
    metrics.gauge("panic", "1 while probe results and ejections are ignored", lambda: float(fleet.panic))
    metrics.gauge("endpoints", "Endpoints by state", lambda: _keyed(fleet.counts()), ("state",))
    metrics.counting(
        "ejections_total", "Endpoints taken out of service, by reason", lambda: _keyed(fleet.ejections), ("reason",)
    )
    metrics.gauge("queue_depth", "Requests that wait for a place", lambda: float(admission.queue.depth))
    metrics.gauge("concurrency_limit", "Places for requests without an answer yet", lambda: float(admission.limit))
    _register_endpoints(metrics, fleet, seconds)
    _register_breakers(metrics, fleet, seconds)


def _register_endpoints(metrics: Metrics, fleet: Fleet, seconds: Seconds) -> None:
    def attempts() -> Labelled:
        found: Counter[tuple[str, ...]] = Counter()
        for endpoint in fleet.endpoints.values():
            for outcome, count in zip(OUTCOMES, endpoint.outcomes, strict=True):
                found[seconds.label(endpoint.id), outcome] += count
        return dict(found)

    metrics.counting("attempts_total", "Tries by endpoint and outcome", attempts, ("endpoint", "outcome"))
    metrics.gauge(
        "endpoint_in_flight",
        "Tries under way by endpoint",
        lambda: _summed(fleet, seconds, lambda endpoint: endpoint.active),
        ("endpoint",),
    )


def _register_breakers(metrics: Metrics, fleet: Fleet, seconds: Seconds) -> None:
    def calls() -> Labelled:
        found: Counter[tuple[str, ...]] = Counter()
        for endpoint in fleet.endpoints.values():
            name, breaker = seconds.label(endpoint.id), endpoint.switch
            timeouts = endpoint.outcomes[TRY_TIMEOUT] + endpoint.outcomes[DEADLINE]
            found[name, "success"] += breaker.succeeded
            found[name, "failure"] += breaker.failed - timeouts
            found[name, "rejected"] += breaker.rejected
            found[name, "timeout"] += timeouts
        return dict(found)

    def transitions() -> Labelled:
        found: Counter[tuple[str, ...]] = Counter()
        for (name, to), count in fleet.transitions.items():
            found[seconds.label(name), to] += count
        return dict(found)

    metrics.counting("breaker_transitions_total", "Changes of a breaker's state", transitions, ("name", "to"))
    metrics.counting("breaker_calls_total", "Calls by what became of them", calls, ("name", "result"))
    metrics.gauge(
        "breaker_state",
        "0 closed, 1 half-open, 2 open",
        lambda: _summed(fleet, seconds, lambda endpoint: endpoint.switch.state, most=True),
        ("name",),
    )


def _summed(fleet: Fleet, seconds: Seconds, read: Callable[[Endpoint], int], *, most: bool = False) -> Labelled:
    """One value per label: those beyond the labelled ones are added up, or the highest stands for them."""
    found: dict[tuple[str, ...], float] = {}
    for endpoint in fleet.endpoints.values():
        key, value = (seconds.label(endpoint.id),), float(read(endpoint))
        before = found.get(key, 0.0)
        found[key] = max(before, value) if most else before + value
    return found


def _keyed(counts: Mapping[str, int]) -> Labelled:
    return {(name,): float(count) for name, count in counts.items()}
