"""Which failures get another try, where it goes, and who pays."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest

from services.core.verdicts import Refusal
from services.http1.exchange import DONE, FORWARDED, PARKED_STATE
from tests.harness.wait import eventually
from tests.unit.balancer.fakes import Bench, said, way


@pytest.mark.parametrize(
    "kind", ["connect_failed", "connect_timeout", "upstream_reset", "upstream_invalid", "try_timeout"]
)
async def test_failures_are_repeated_elsewhere(kind: str) -> None:
    """An idempotent request goes to another endpoint at once."""
    bench = Bench(3)
    x = bench.send()
    first = x.endpoint
    bench.fail(x, kind)
    assert x.state == FORWARDED
    assert x.endpoint is not first
    assert (x.tries, x.excluded, first.active) == (2, (first,), 0)
    assert bench.retry.retries[kind] == 1
    assert bench.answer(x)


@pytest.mark.parametrize(("status", "special", "again"), [
    (502, {}, True),
    (503, {}, True),
    (503, {"retry_after": b"1"}, False),
    (500, {}, False),
    (504, {}, False),
    (404, {}, False),
])  # fmt: skip
async def test_answers_that_are_repeated(status: int, special: dict[str, Any], again: bool) -> None:
    """502 and a bare 503 go elsewhere; overload, 500, 504 and client errors go out as they are."""
    bench = Bench(3)
    x = bench.send()
    assert bench.answer(x, status, **special) is not again
    assert x.tries == 1 + again


async def test_old_fault_10f() -> None:
    """A POST without Idempotency-Key is never written twice; with one it may be; a failed connect wrote nothing."""
    bench = Bench(3)
    x = bench.send(b"POST")
    bench.fail(x, "upstream_reset")
    out = said(x)
    assert isinstance(out, Refusal)
    assert (out.slug, x.tries) == ("bad-gateway", 1)
    x = bench.send(b"POST", idempotency_key=b"k-1")
    bench.fail(x, "upstream_reset")
    assert x.tries == 2
    x = bench.send(b"POST")
    bench.fail(x, "connect_failed", sent=False)
    assert x.tries == 2


async def test_three_tries_at_most() -> None:
    """The third failure goes out; the second retry waits a moment first."""
    bench = Bench(4)
    x = bench.send()
    bench.fail(x, "upstream_reset")
    bench.fail(x, "upstream_reset")
    assert x.state == PARKED_STATE
    await eventually(lambda: x.state == FORWARDED, 1, "the second retry was sent")
    assert len({id(endpoint) for endpoint in (*x.excluded, x.endpoint)}) == 3
    bench.fail(x, "upstream_reset")
    assert (x.state, x.tries) == (DONE, 3)


async def test_a_client_that_leaves_meanwhile_gets_no_try() -> None:
    """The waiting retry finds the exchange over and does nothing."""
    bench = Bench(3)
    x = bench.send()
    bench.fail(x, "upstream_reset")
    bench.fail(x, "upstream_reset")
    x.connection.cut(x)
    await asyncio.sleep(0.12)
    assert sum(len(way(endpoint).started) for endpoint in bench.all) == 2
    assert [endpoint.active for endpoint in bench.all] == [0, 0, 0]


async def test_no_budget_no_retry() -> None:
    """With an empty budget the failure goes out: an upstream that fails half the time sees few tries more."""
    bench = Bench(3)
    bench.fleet.budget.tokens = 0.0
    x = bench.send()
    bench.fail(x, "upstream_reset")
    assert x.state == DONE


async def test_a_part_of_the_body_is_gone() -> None:
    """A body too long to be kept is not repeated."""
    bench = Bench(3)
    x = bench.send(b"PUT")
    x.replayable = False
    bench.fail(x, "upstream_reset")
    assert x.state == DONE


async def test_too_late_for_another_try() -> None:
    """No try without time for it."""
    bench = Bench(3)
    x = bench.send()
    x.deadline = monotonic() + 0.005
    bench.fail(x, "upstream_reset")
    assert x.state == DONE


async def test_nobody_can_be_reached() -> None:
    """Every endpoint refuses connections: 503 no-backend with Retry-After, not 502."""
    bench = Bench(2)
    x = bench.send()
    for _ in range(2):
        way(x.endpoint).connected(ok=False)
        bench.fail(x, "connect_failed", sent=False)
    out = said(x)
    assert isinstance(out, Refusal)
    assert (out.slug, out.retry_after_s) == ("no-backend", 1)
    assert [endpoint.active for endpoint in bench.all] == [0, 0]


async def test_the_engines_own_refusals() -> None:
    """A full queue and a deadline are answered as the engine says."""
    bench = Bench(2)
    for kind, slug in (("queue_full", "temporary-reduced-capacity"), ("deadline", "gateway-timeout")):
        x = bench.send()
        bench.fail(x, kind)
        out = said(x)
        assert isinstance(out, Refusal)
        assert out.slug == slug


async def test_try_timeouts() -> None:
    """Armed for what may be repeated elsewhere: not for the slow class, a POST, the last try, a lone endpoint, an empty
    budget.
    """
    bench = Bench(3)
    assert bench.send().try_deadline == 0.0  # before the first tick
    bench.fleet.tick(monotonic())
    assert bench.send().try_deadline >= monotonic() + 1.9  # nothing known about times yet
    for _ in range(30):
        bench.ask()
    bench.fleet.tick(monotonic())
    before = monotonic()
    x = bench.send()
    assert before + 0.25 <= x.try_deadline <= monotonic() + 0.25
    bench.fail(x, "upstream_reset")
    assert x.try_deadline > 0
    bench.fail(x, "upstream_reset")
    await eventually(lambda: x.state == FORWARDED, 1, "the last try")
    assert x.try_deadline == 0.0
    assert bench.send(b"POST").try_deadline == 0.0
    assert bench.send(b"POST", idempotency_key=b"k").try_deadline > 0
    assert bench.send(path=b"/api/v1/external").try_deadline == 0.0
    bench.fleet.budget.tokens = 0.5
    bench.fleet.tick(monotonic())
    assert bench.send().try_deadline == 0.0
    bench.fleet.budget.tokens = 50
    bench.fleet.chooser.replace(bench.all[:1], monotonic())
    bench.fleet.tick(monotonic())
    assert bench.send().try_deadline == 0.0
