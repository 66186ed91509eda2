"""Fakes of the balancer's ports: a way in that keeps what it was given, a client connection that keeps what it was
told.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from services.balancer.endpoints import Endpoint
from services.balancer.fleet import Fleet
from services.balancer.pipeline import build
from services.balancer.series import Seconds
from services.balancer.stages.measure import Measure
from services.balancer.stages.queue import Admission
from services.balancer.stages.retry import Retry
from services.balancer.stages.route import Own, Route
from services.core.balancing import P2C
from services.core.verdicts import Answer, Outcome, Refusal
from services.http1 import runner
from services.http1.exchange import FORWARDED, Exchange
from services.http1.heads import UpstreamHead
from services.http1.runner import Pipeline
from services.http1.upstream import Failure
from services.runtime.endpoints import EndpointInfo
from services.runtime.metrics import Metrics, Series
from services.runtime.vitals import Events, Traffic


class FakeWay:
    """A pool that answers nothing by itself."""

    def __init__(self, info: EndpointInfo, on_connect: Callable[[bool], None]) -> None:
        self.info = info
        self.on_connect = on_connect
        self.backoff_until = 0.0
        self.open_count = 0
        self.started: list[tuple[Exchange, bytes]] = []
        self.retired = False
        self.closed = False

    def start(self, x: Exchange, head: bytes) -> None:
        x.state = FORWARDED
        self.started.append((x, head))

    def connected(self, *, ok: bool) -> None:
        """A connect ended."""
        self.on_connect(ok)

    def abort(self, x: Exchange) -> None:
        raise AssertionError("the balancer aborts through the engine")

    def retire(self) -> None:
        self.retired = True

    def close(self) -> None:
        self.closed = True


class FakeConnection:
    """The client's side: the last answer or refusal, and how it ended."""

    def __init__(self) -> None:
        self.out: Outcome = None
        self.cuts = 0

    def reply(self, x: Exchange, out: Outcome) -> None:
        self.out = out
        for hook in x.pipeline.on_head:
            hook(x)
        x.status = out.status if isinstance(out, Answer) else 503
        x.reason = out.reason if isinstance(out, Refusal) else ""
        runner.finish(x)

    def drop_upstream(self, x: Exchange) -> None:
        x.upstream = None

    def cut(self, x: Exchange) -> None:
        self.cuts += 1
        x.reason = "cut"
        runner.finish(x)


def infos(count: int, **members: Any) -> tuple[EndpointInfo, ...]:
    return tuple(EndpointInfo(f"api-{n}", "127.0.0.1", 4000 + n, **members) for n in range(1, count + 1))


class Bench:
    """A whole balancer without sockets: `send` a request, `answer` or `fail` what an endpoint was given."""

    def __init__(self, count: int = 3, policy: str = P2C, own: dict[bytes, Own] | None = None) -> None:
        self.metrics = Metrics("balancer", "1")
        self.events = Events()
        self.seconds = Seconds(self.metrics.histogram("upstream_seconds", "-", ("endpoint",)))
        self.fleet = Fleet(policy, FakeWay, self.seconds, self.events)
        self.traffic = Traffic()
        self.measure = Measure(self.traffic)
        self.admission = Admission(self.fleet.gradient, Series())
        self.pipeline: Pipeline
        self.retry: Retry
        self.pipeline, self.retry = build(self.fleet, self.measure, Route(own or {}), self.admission, b"lb-1")
        self.fleet.sync(infos(count))
        for endpoint in self.all:
            self.fleet.probed(endpoint, good=True, draining=False, error="")
            endpoint.probation = False

    @property
    def all(self) -> list[Endpoint]:
        return list(self.fleet.endpoints.values())

    def endpoint(self, name: str) -> Endpoint:
        found = self.fleet.find(name)
        assert found is not None
        return found

    def exchange(self, method: bytes = b"GET", path: bytes = b"/x", **special: bytes) -> Exchange:
        x = Exchange(FakeConnection(), self.pipeline, path, 1 << 20)  # type: ignore[arg-type]
        x.method, x.host = method, b"test"
        x.started = x.now = monotonic()
        x.special = {name.replace("_", "-").encode(): value for name, value in special.items()}
        return x

    def send(self, method: bytes = b"GET", path: bytes = b"/x", **special: bytes) -> Exchange:
        x = self.exchange(method, path, **special)
        runner.start(x)
        return x

    def answer(self, x: Exchange, status: int = 200, seconds: float = 0.001, **special: Any) -> bool:
        """The endpoint's head comes; if it goes on, the exchange ends. Did it go on?"""
        head = UpstreamHead()
        head.status = status
        head.special = {name.replace("_", "-").encode(): value for name, value in special.items()}
        x.upstream_s = seconds
        if not runner.accepts(x, head):
            return False
        x.head, x.status = head, status
        for hook in x.pipeline.on_head:
            hook(x)
        runner.finish(x)
        return True

    def fail(self, x: Exchange, kind: str, *, sent: bool = True) -> None:
        runner.fail(x, Failure(kind, sent))

    def ask(self, status: int = 200, method: bytes = b"GET", **special: bytes) -> Exchange:
        """A request from start to end, all of its tries answered with `status`."""
        x = self.send(method, **special)
        while x.state == FORWARDED and not self.answer(x, status):
            pass
        return x


def way(endpoint: Endpoint) -> FakeWay:
    found = endpoint.pool
    assert isinstance(found, FakeWay)
    return found


def said(x: Exchange) -> Outcome:
    """What this process answered itself."""
    connection: Any = x.connection
    out: Outcome = connection.out
    return out
