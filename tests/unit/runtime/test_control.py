from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
from fastapi import APIRouter

from services.runtime.control import BODY_MAX, ControlServer, build
from services.runtime.process import Runtime, make_runtime
from services.runtime.settings import BalancerSettings, load
from services.schema import snapshot as snapshots
from services.schema.snapshot import SNAPSHOT_MAX_BYTES, Snapshot
from services.schema.tiers import BUILT_IN, document, render
from tests.harness.wait import eventually
from tests.unit.runtime.test_settings import BALANCER, TOKEN

AUTH = {"authorization": f"Bearer {TOKEN}"}


class FakeService:
    def __init__(self, rt: Runtime[BalancerSettings]) -> None:
        self.rt = rt
        self.made = 0
        self.backends = True

    async def start(self) -> int:
        return 1

    def drain(self, on: bool) -> None: ...

    async def close(self, within_s: float) -> None: ...

    def checks(self) -> Mapping[str, bool]:
        return {"backends": self.backends}

    def snapshot(self) -> Snapshot:
        self.made += 1
        return self.rt.snapshot(ready=True, in_flight=3)


@pytest.fixture
async def served():
    rt = make_runtime(load(BalancerSettings, BALANCER))
    rt.started = True
    rt.watchdog.start()
    extra = APIRouter(prefix="/control/v1")

    @extra.post("/explain")
    async def explain() -> dict[str, int]:
        return {"answer": 42}

    rt.routers.append(extra)
    service = FakeService(rt)
    transport = httpx.ASGITransport(app=build(rt, service))
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as client:
        yield rt, service, client
    rt.watchdog.stop()
    rt.drain.set(on=False, timeout_s=1)


async def test_probes_need_no_token(served):
    """/livez, /readyz, /metrics answer anybody; /readyz names what is red."""
    rt, service, client = served
    assert (await client.get("/livez")).status_code == 200
    assert (await client.get("/readyz")).status_code == 200
    assert "balancer_build_info" in (await client.get("/metrics")).text
    accept = {"accept": "application/openmetrics-text"}
    assert (await client.get("/metrics", headers=accept)).text.endswith("# EOF\n")
    service.backends = False
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "not ready: backends")
    rt.started = False
    assert "started" in (await client.get("/readyz")).text


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}])
async def test_everything_else_needs_the_token(served, header):
    """Without the token: 401 on every control route, known or not, the component's own included."""
    _, _, client = served
    for method, path in [
        ("GET", "snapshot"),
        ("PUT", "tiers"),
        ("POST", "drain"),
        ("POST", "explain"),
        ("GET", "none"),
    ]:
        assert (await client.request(method, f"/control/v1/{path}", headers=header)).status_code == 401
    for path in ("/docs", "/openapi.json", "/redoc"):
        assert (await client.get(path)).status_code == 404


async def test_a_components_routes_are_served(served):
    """Routers that a component appended are part of the port."""
    _, _, client = served
    assert (await client.post("/control/v1/explain", headers=AUTH)).json() == {"answer": 42}


async def test_the_snapshot_is_kept_for_a_moment(served):
    """Many readers within 100 ms cost one snapshot; it has the contract's members."""
    _, service, client = served
    first = (await client.get("/control/v1/snapshot", headers=AUTH)).content
    await client.get("/control/v1/snapshot", headers=AUTH)
    assert service.made == 1
    snapshot = snapshots.decode(first)
    assert snapshot.tier is not None
    assert (snapshot.component, snapshot.in_flight, snapshot.tier.revision) == ("balancer", 3, 0)
    assert len(first) <= SNAPSHOT_MAX_BYTES


async def test_tiers_are_pushed_and_acknowledged(served):
    """200 with revision and hash, again too; older or another hash: 409; wrong: 422, and the last one stays."""
    rt, _, client = served
    new = document(3, BUILT_IN.spec)
    answer = await client.put("/control/v1/tiers", content=render(new), headers=AUTH)
    assert (answer.status_code, answer.json()) == (200, {"revision": 3, "hash": new.hash})
    assert (await client.put("/control/v1/tiers", content=render(new), headers=AUTH)).status_code == 200
    other = document(3, BUILT_IN.spec.model_copy(update={"default_tier": "pro"}))
    for stale in (document(2, BUILT_IN.spec), other):
        assert (await client.put("/control/v1/tiers", content=render(stale), headers=AUTH)).status_code == 409
    wrong = await client.put("/control/v1/tiers", content=b"revision: 9", headers=AUTH)
    assert wrong.status_code == 422
    assert wrong.json()["errors"]
    assert rt.tiers.document.hash == new.hash
    shown = (await client.get("/control/v1/tiers", headers=AUTH)).json()
    assert (shown["revision"], shown["hash"]) == (3, new.hash)
    assert shown["spec"]["defaultTier"] == "free"


async def test_drain_ends_by_itself(served):
    """A drain makes readiness red, is idempotent, and is over after its time."""
    rt, _, client = served
    for _ in range(2):
        answer = await client.post("/control/v1/drain", json={"on": True, "timeoutSeconds": 0.2}, headers=AUTH)
        assert answer.json() == {"draining": True, "inFlight": 3}
    assert (await client.get("/readyz")).status_code == 503
    await eventually(lambda: not rt.drain.draining, 5, "the drain is over")
    assert (await client.get("/readyz")).status_code == 200
    for body in ({"on": True, "timeoutSeconds": 0}, {"on": True, "extra": 1}, {}):
        assert (await client.post("/control/v1/drain", json=body, headers=AUTH)).status_code == 422


async def test_the_drain_before_exit_is_for_good(served):
    """What SIGTERM began, no message ends."""
    rt, _, client = served
    rt.drain.set(on=True, timeout_s=None)
    await client.post("/control/v1/drain", json={"on": False, "timeoutSeconds": 1}, headers=AUTH)
    assert rt.drain.draining


async def test_a_deposed_controller_is_refused(served):
    """An epoch lower than one seen before: 409; reading is never refused; rubbish: 400."""
    _, _, client = served
    body = {"on": False, "timeoutSeconds": 1}

    async def post(epoch: str) -> int:
        headers = AUTH | {"x-controller-epoch": epoch}
        answer: httpx.Response = await client.post("/control/v1/drain", json=body, headers=headers)
        return answer.status_code

    assert [await post(epoch) for epoch in ("5", "5", "6", "5", "x")] == [200, 200, 200, 409, 400]
    old = AUTH | {"x-controller-epoch": "1"}
    assert (await client.get("/control/v1/snapshot", headers=old)).status_code == 200
    assert (await client.post("/control/v1/drain", json=body, headers=AUTH)).status_code == 200


async def test_bodies_are_bounded(served):
    """Over 1 MiB, declared or sent: 413."""
    _, _, client = served
    declared = AUTH | {"content-length": str(BODY_MAX + 1)}
    assert (await client.put("/control/v1/tiers", content=b"x", headers=declared)).status_code == 413

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    assert (await client.put("/control/v1/tiers", content=endless(), headers=AUTH)).status_code == 413


async def test_it_listens_on_its_own_socket(served):
    """On the same loop, on a port of its own; a taken port is an OSError."""
    rt, service, _ = served
    server = ControlServer(build(rt, service))
    port = server.start("127.0.0.1", 0)
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/livez")).text == "ok"
    with pytest.raises(OSError, match="in use"):
        ControlServer(build(rt, service)).start("127.0.0.1", port)
    await server.stop()
