from __future__ import annotations

import httpx
import pytest

from services.runtime.control import build
from services.runtime.http_client import ControlClient, ControlError, client
from services.runtime.process import make_runtime
from services.runtime.settings import BalancerSettings, load
from services.schema.tiers import BUILT_IN, document, render
from tests.unit.runtime.test_control import FakeService
from tests.unit.runtime.test_settings import BALANCER, TOKEN


@pytest.fixture
async def http():
    rt = make_runtime(load(BalancerSettings, BALANCER))
    rt.started = True
    rt.watchdog.start()
    transport = httpx.ASGITransport(app=build(rt, FakeService(rt)))
    async with httpx.AsyncClient(transport=transport) as http:
        yield http
    rt.watchdog.stop()
    rt.drain.set(on=False, timeout_s=1)


async def test_the_whole_control_port(http):
    """Snapshot, tiers, drain and readiness as typed calls."""
    async with ControlClient("http://control/", TOKEN, http=http, epoch=4) as control:
        assert await control.ready()
        assert (await control.snapshot()).component == "balancer"
        new = document(1, BUILT_IN.spec)
        ack = await control.push_tiers(render(new))
        assert (ack.revision, ack.hash) == (1, new.hash)
        assert await control.drain(on=True, timeout_s=5) == (True, 3)
        assert await control.drain(on=False, timeout_s=5) == (False, 3)


async def test_refusals_are_one_exception(http):
    """Status and errors tell what the port said."""
    async with ControlClient("http://control", TOKEN, http=http) as control:
        with pytest.raises(ControlError) as wrong:
            await control.push_tiers(b"x: 1")
        assert wrong.value.status == 422
        assert len(wrong.value.errors) > 1
        with pytest.raises(ControlError) as missing:
            await control.explain({})
        assert missing.value.status == 404
    async with ControlClient("http://control", "wrong-token-wrong-token", http=http) as stranger:
        with pytest.raises(ControlError) as unauthorised:
            await stranger.snapshot()
        assert unauthorised.value.status == 401
        assert not unauthorised.value.unreachable


async def test_nobody_there():
    """A process that does not answer is status 0, told apart from a refusal."""
    async with ControlClient("http://127.0.0.1:9", TOKEN, timeout_s=0.5) as control:
        assert not await control.ready()
        with pytest.raises(ControlError) as caught:
            await control.snapshot()
    assert caught.value.unreachable


async def test_the_client_is_bounded():
    """No redirects, no environment proxies."""
    async with client(timeout_s=2) as http:
        assert http.follow_redirects is False
        assert http.trust_env is False
        assert http.timeout.read == 2
