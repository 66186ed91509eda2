"""The controller's own control port, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from services.controller.port import build
from services.runtime.control import ControlServer
from services.runtime.http_client import ControlClient, ControlError, client
from tests.unit.controller.scene import Stage

TOKEN = "fake-control-token"


@pytest.fixture
async def served() -> AsyncIterator[tuple[Stage, str]]:
    stage = Stage()
    server = ControlServer(build(stage.controller))
    port = server.start("127.0.0.1", 0)
    yield stage, f"http://127.0.0.1:{port}"
    await server.stop()


async def test_this_seconds_windows(served):
    """The decision of the last visit, whole or of one component, with the object's own token."""
    stage, url = served
    stage.ports.says["api"] = {"rps": 240.0}
    await stage.seconds(2)
    async with ControlClient(url, TOKEN) as control:
        found = await control.explain({"name": "shop", "component": "api"})
        assert found["components"]["api"]["metrics"][0]["target"] == "60"
        assert set((await control.explain({"name": "shop"}))["components"]) == {"gateway", "balancer", "api"}
        with pytest.raises(ControlError) as unknown:
            await control.explain({"name": "shop", "component": "worker"})
    assert unknown.value.status == 404


@pytest.mark.parametrize(("token", "name"), [("another-token", "shop"), (TOKEN, "other")])
async def test_without_the_objects_token_nothing_is_told(served, token, name):
    """401, also for an object that is not there."""
    stage, url = served
    await stage.seconds(1)
    async with ControlClient(url, token) as control:
        with pytest.raises(ControlError) as refused:
            await control.explain({"name": name})
    assert refused.value.status == 401


async def test_probes_and_series_are_open(served):
    """livez, readyz, metrics, without a token."""
    stage, url = served
    await stage.seconds(1)
    async with client(base_url=url) as http:
        answers = [await http.get(path) for path in ("/livez", "/readyz", "/metrics")]
    assert [answer.status_code for answer in answers] == [httpx.codes.OK] * 3
    assert "operator_objects 1.0" in answers[2].text


async def test_a_controller_that_stands_still_is_not_alive(monkeypatch):
    """livez 503 when no visit ended for 15 s; readyz is the home's word."""
    stage = Stage()
    server = ControlServer(build(stage.controller, ready=lambda: False))
    url = f"http://127.0.0.1:{server.start('127.0.0.1', 0)}"
    monkeypatch.setattr("services.controller.loop.LATE_S", -1.0)
    async with client(base_url=url) as http:
        answers = [(await http.get(path)).status_code for path in ("/livez", "/readyz")]
    await server.stop()
    assert answers == [503, 503]
