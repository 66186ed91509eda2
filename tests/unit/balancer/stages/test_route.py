"""Own paths and the latency class."""

from __future__ import annotations

import pytest

from services.balancer.stages.route import NOT_READ, SLOW_PATHS, Route, slow_template
from services.core import routes
from services.core.verdicts import Answer
from services.http1.tunnel import NO_VERSION
from tests.unit.balancer.fakes import Bench

ANSWER = Answer(200)


async def test_own_paths() -> None:
    """GET and HEAD are answered here, other methods are 405; a longer path is somebody else's."""
    bench, route = Bench(1), Route({b"/health": lambda: ANSWER})
    assert route.route(bench.exchange(path=b"/health")) is ANSWER
    assert route.route(bench.exchange(b"HEAD", b"/health")) is ANSWER
    assert route.route(bench.exchange(b"POST", b"/health")) is NOT_READ
    assert route.route(bench.exchange(path=b"/health/x")) is None


async def test_slow_class() -> None:
    """Slow routes have no try timeout and do not count in the pools' times."""
    bench, route = Bench(1), Route({})
    login = bench.exchange(b"POST", b"/api/v1/auth/login")
    assert route.route(login) is None
    assert login.class_slow
    status = bench.exchange(path=b"/api/v1/status")
    route.route(status)
    assert not status.class_slow
    assert b"/api/v1/auth/login" in SLOW_PATHS


def test_slow_templates() -> None:
    """Paths that match a template have its class; unknown ones are fast."""
    assert slow_template(b"/api/v1/auth/login")
    assert not slow_template(b"/api/v1/keys/1")
    assert not slow_template(b"/nothing")


async def test_only_a_route_with_the_flag_is_upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere a handshake is not looked at, right or wrong."""
    monkeypatch.setitem(routes._EXACT, b"/talk", routes.Route("/talk", frozenset({b"GET"}), upgrade=True))
    bench, route = Bench(1), Route({})
    wrong = {"upgrade": b"websocket", "connection": b"upgrade"}
    assert route.route(bench.exchange(path=b"/talk", **wrong)) is NO_VERSION
    assert route.route(bench.exchange(path=b"/talk")) is None
    assert route.route(bench.exchange(path=b"/api/v1/status", **wrong)) is None
