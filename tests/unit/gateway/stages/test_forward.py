from __future__ import annotations

import time
from typing import Any

import pytest

from services.core.retry_budget import RetryBudget
from services.core.throttle import Throttle
from services.core.verdicts import PARKED
from services.gateway.answers import ANSWERS
from services.gateway.balancers import Balancers
from services.gateway.identity import Identity
from services.gateway.stages import forward as module
from services.gateway.stages.forward import Forward, decide
from services.http1.exchange import Exchange
from services.http1.heads import UpstreamHead
from services.http1.limits import Deadlines, Limits
from services.http1.upstream import Failure
from services.runtime.endpoints import EndpointInfo
from tests.unit.gateway.doubles import exchange, identity, record, slug


class Pool:
    """Where an exchange was sent, with which head."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.backoff_until = 0.0

    def start(self, _x: Exchange, head: bytes) -> None:
        self.heads.append(head)

    def close(self) -> None: ...


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int = 2) -> None:
        self.balancers = Balancers(Limits(), Deadlines(), ANSWERS)
        self.balancers.use(tuple(EndpointInfo(f"b-{n}", "127.0.0.1", 1000 + n) for n in range(count)))
        for endpoint in self.balancers.endpoints:
            endpoint.pool = Pool()  # type: ignore[assignment]
        self.budget = RetryBudget(time.monotonic())
        self.throttle = Throttle()
        self.stage = Forward(self.balancers, b"gateway-g1", self.budget, self.throttle)
        self.rewound: list[int] = []
        monkeypatch.setattr(module, "rewind", lambda _x, at: self.rewound.append(at))
        self.stage.at = 7

    def sent(self) -> list[bytes]:
        pools: list[Any] = [endpoint.pool for endpoint in self.balancers.endpoints]
        return [head for pool in pools for head in pool.heads]


@pytest.fixture
async def bench(monkeypatch):
    return Bench(monkeypatch)


def asks(
    method: bytes = b"GET", path: bytes = b"/api/v1/status", who: Identity | None = None, **special: Any
) -> Exchange:
    x = exchange(method, path, **special)
    x.route, x.identity = record(method, path), who or Identity("ip:192.0.2.7", "anonymous", "anonymous")
    x.fields = [b"Accept: */*\r\n"]
    return x


async def test_what_goes_on(bench):
    """The request's own line and fields, and the gateway's: ids, client, deadline, identity."""
    who = identity()
    who.sign(0, 1000, bytes(32))
    x = asks(who=who)
    x.query = b"?a=1"
    x.criticality = 1
    assert bench.stage(x) is PARKED
    (head,) = bench.sent()
    lines = head.split(b"\r\n")
    assert lines[:2] == [b"GET /api/v1/status?a=1 HTTP/1.1", b"Host: api.example"]
    assert {
        b"Accept: */*",
        b"Via: 1.1 gateway-g1",
        b"X-Request-ID: req-1",
        b"traceparent: 00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-00",
        b"X-Client-IP: 192.0.2.7",
        b"X-Gateway-Class: sheddable-plus",
        b"X-Forwarded-For: 192.0.2.7",
        b"X-Forwarded-Proto: http",
    } <= set(lines)
    assert sum(line.startswith(b"X-Gateway-Identity: v1.") for line in lines) == 1
    timeout = next(int(line.split(b": ")[1]) for line in lines if line.startswith(b"X-Request-Timeout-Ms"))
    assert 29_000 < timeout <= 29_995
    assert head.endswith(b"\r\n")
    assert not head.endswith(b"\r\n\r\n")


async def test_what_a_trusted_proxy_and_a_longer_way_leave(bench):
    """Via is added to, forwarded fields of a trusted peer are kept, tracestate and the sampled flag go along."""
    forwarded: dict[str, Any] = {"x_forwarded_for": b"198.51.100.1", "x_forwarded_proto": b"https"}
    x = asks(peer="10.0.0.1", via=b"1.1 cdn", tracestate=b"a=1", **forwarded)
    x.sampled = True
    bench.stage(x)
    (head,) = bench.sent()
    assert b"Via: 1.1 cdn, 1.1 gateway-g1\r\n" in head
    assert b"X-Forwarded-For: 198.51.100.1, 10.0.0.1\r\n" in head
    assert b"X-Client-IP: 198.51.100.1\r\n" in head
    assert b"X-Forwarded-Proto: https\r\n" in head
    assert head.count(b"X-Forwarded-Proto") == 1
    assert b"tracestate: a=1\r\n" in head
    assert b"-01\r\n" in head


async def test_credentials_and_internal_fields_stay_here(bench):
    """What the engine took as special is not forwarded, whatever the client sent."""
    special: dict[str, Any] = {"authorization": b"Bearer CANARY", "x_api_key": b"CANARY", "cookie": b"CANARY"}
    bench.stage(asks(**special, x_gateway_identity=b"CANARY", x_client_ip=b"CANARY", x_gateway_ratelimit=b"CANARY"))
    assert b"CANARY" not in b"".join(bench.sent())


async def test_no_time_left_is_504_without_a_try(bench):
    """At most 10 ms left."""
    x = asks()
    x.deadline = x.now + 0.005
    assert slug(bench.stage(x)) == "gateway-timeout"
    assert bench.sent() == []


async def test_without_a_balancer_it_is_503(monkeypatch):
    """Retry-After is the soonest return, at least a second; explain says the same."""
    bench = Bench(monkeypatch, count=0)
    out: Any = bench.stage(asks())
    assert slug(out) == "no-backend"
    assert out.retry_after_s == 1
    assert decide(bench.balancers, time.monotonic()) == out
    some = Bench(monkeypatch)
    assert decide(some.balancers, time.monotonic()) is None


async def test_a_lost_connection_is_replayed_once_elsewhere(bench):
    """GET, reset before an answer: again, on the other balancer; a second loss goes out as 502."""
    x = asks()
    bench.stage(x)
    first = x.endpoint
    assert bench.stage.on_failure(x, Failure("upstream_reset", sent=True)) is PARKED
    assert bench.rewound == [7]
    assert (first.active, x.endpoint, x.excluded) == (0, None, (first,))
    bench.stage(x)
    assert x.endpoint is not first
    out = bench.stage.on_failure(x, Failure("upstream_reset", sent=True))
    assert slug(out) == "bad-gateway"
    assert out.facts == {"attempts": 2}


@pytest.mark.parametrize(
    ("method", "special", "kind", "sent", "again"),
    [
        (b"POST", {}, "upstream_reset", True, False),
        (b"POST", {"idempotency_key": b'"k"'}, "upstream_reset", True, True),
        (b"POST", {}, "connect_failed", False, True),
        (b"PUT", {}, "upstream_reset", True, True),
        (b"GET", {}, "upstream_invalid", True, False),
        (b"GET", {}, "deadline", True, False),
        (b"GET", {}, "queue_full", False, False),
    ],
)
async def test_old_fault_10f_what_may_be_sent_twice(bench, method, special, kind, sent, again):
    """A POST without Idempotency-Key never, unless nothing was sent; an answered or late request never."""
    x = asks(method, b"/api/v1/resources", **special)
    bench.stage(x)
    out = bench.stage.on_failure(x, Failure(kind, sent=sent))
    assert (out is PARKED) is again


async def test_a_body_that_is_gone_and_an_empty_budget_end_it(bench):
    """What cannot be sent whole is not sent again; replays have a budget."""
    x = asks()
    bench.stage(x)
    x.replayable = False
    assert slug(bench.stage.on_failure(x, Failure("upstream_reset", sent=True))) == "bad-gateway"
    bench.budget.tokens = -1e9
    y = asks()
    bench.stage(y)
    assert slug(bench.stage.on_failure(y, Failure("connect_failed"))) == "bad-gateway"


@pytest.mark.parametrize(
    ("kind", "expected"), [("deadline", "gateway-timeout"), ("queue_full", "temporary-reduced-capacity")]
)
async def test_each_failure_has_its_answer(bench, kind, expected):
    """504 for time, 503 for a full queue."""
    x = asks()
    bench.stage(x)
    assert slug(bench.stage.on_failure(x, Failure(kind, sent=True))) == expected


async def test_counts_return_to_zero(bench):
    """In flight per balancer is settled once, however the exchange ends; times to head are learnt."""
    x = asks()
    bench.stage(x)
    endpoint = x.endpoint
    assert endpoint.active == 1
    x.upstream_s = 0.02
    assert bench.stage.on_answer(x, UpstreamHead())
    assert endpoint.cost == pytest.approx(0.02)
    bench.stage.on_finish(x)
    bench.stage.on_finish(x)
    assert endpoint.active == 0


@pytest.mark.parametrize(
    ("status", "proxy_status", "turned_away"),
    [
        (200, b"", 0),
        (429, b"", 0),
        (503, b"", 0),  # the api's own
        (503, b"balancer-1; error=connection_limit_reached", 1),
        (503, b"balancer-1; error=destination_unavailable", 1),
        (504, b"balancer-1; error=http_response_timeout", 0),
    ],
)
async def test_the_throttle_hears_who_had_no_room(bench, status, proxy_status, turned_away):
    """An answer is an accept unless the balancer had no room or no endpoint."""
    x = asks()
    bench.stage(x)
    head = UpstreamHead()
    head.status = status
    if proxy_status:
        head.special[b"proxy-status"] = proxy_status
    assert bench.stage.on_answer(x, head)
    assert (bench.throttle.ended, bench.throttle.turned_away) == (1, turned_away)


@pytest.mark.parametrize(("kind", "ended"), [("connect_failed", 1), ("connect_timeout", 1), ("deadline", 0)])
async def test_the_throttle_hears_of_failed_connects(bench, kind, ended):
    """A balancer that cannot be reached has no room; one that is late may have."""
    x = asks()
    bench.stage(x)
    bench.stage.on_failure(x, Failure(kind))
    assert (bench.throttle.ended, bench.throttle.turned_away) == (ended, ended)
