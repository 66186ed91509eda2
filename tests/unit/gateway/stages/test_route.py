from __future__ import annotations

from typing import Any

import pytest

from services.core import routes
from services.core.verdicts import Answer
from services.gateway.cors import Cors
from services.gateway.stages.route import ANY, Route, allow_of, decide
from services.http1.tunnel import NO_VERSION
from tests.unit.gateway.doubles import exchange, slug, table


class Health:
    def answer(self, template: str) -> Answer:
        return Answer(200, (), template.encode())


@pytest.fixture
def route():
    return Route(table(), Health(), Cors(()))


def test_a_served_path_goes_on_with_its_record(route):
    """Template, cost, class and body limit are known from here on."""
    x = exchange(b"POST", b"/api/v1/auth/login")
    assert route(x) is None
    assert (x.route.template, x.cost, x.class_slow, x.body_max) == ("/api/v1/auth/login", 0, True, 4096)


def test_an_unknown_path_goes_on_as_other(route):
    """The api owns the 404."""
    x = exchange(path=b"/nowhere")
    assert route(x) is None
    assert (x.route.template, x.body_max) == ("other", 10 << 20)


def test_a_wrong_method_is_refused(route):
    """405, by the same value explain shows."""
    x = exchange(b"DELETE", b"/api/v1/status")
    out = route(x)
    assert slug(out) == "method-not-allowed"
    assert decide(x.route) is out


def test_health_is_answered_here(route):
    """No store, no next hop."""
    assert route(exchange(path=b"/ready")) == Answer(200, (), b"/ready")


def test_options_is_answered_here(route):
    """204 with the path's methods, whoever asks; unknown paths get ours."""
    out = route(exchange(b"OPTIONS", b"/api/v1/resources"))
    assert out == Answer(204, (b"Allow: GET, HEAD, POST, OPTIONS\r\n",))
    assert allow_of(b"/nowhere") == ANY


def test_only_a_route_with_the_flag_is_upgraded(route, monkeypatch):
    """Elsewhere a handshake is not looked at, right or wrong."""
    monkeypatch.setitem(routes._EXACT, b"/talk", routes.Route("/talk", frozenset({b"GET"}), upgrade=True))
    wrong: dict[str, Any] = {"upgrade": b"websocket", "connection": b"upgrade"}
    assert route(exchange(path=b"/talk", **wrong)) is NO_VERSION
    assert route(exchange(path=b"/talk")) is None
    assert route(exchange(path=b"/api/v1/status", **wrong)) is None
