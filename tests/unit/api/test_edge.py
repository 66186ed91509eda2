from __future__ import annotations

import asyncio
import gzip
import logging
from typing import Any

import pytest
from fastapi import Response
from starlette.datastructures import Headers

from services.api.access import ANY, AccessRouter, Who
from services.api.app import ApiService, build
from services.api.edge import accepts_gzip, deadline_s
from tests.unit.api.offline import USER, claims, client, offline, signed

router = AccessRouter()


@router.get("/who", access=ANY)
async def who(who: Who) -> dict[str, Any]:
    return {"user": who.user_id, "address": who.address, "request": who.request_id}


@router.get("/long", access=ANY)
async def long() -> Response:
    return Response(
        b'"' + b"x" * 2000 + b'"', headers={"ETag": '"1-2"', "Cache-Control": "no-cache"}, media_type="application/json"
    )


@router.get("/slow", access=ANY)
async def slow() -> None:
    await asyncio.sleep(30)


@router.get("/broken", access=ANY)
async def broken() -> None:
    raise RuntimeError("SELECT secret FROM here")


@pytest.fixture
async def service() -> ApiService:
    made = offline(slow_request_ms="1000")
    made.app = build(made.services, [router])
    return made


async def test_identity(service: ApiService) -> None:
    """The gateway's claims, its word for the address and the request's id; nothing else makes somebody of nobody."""
    async with client(service) as http:
        named = await http.get(
            "/who",
            headers={**signed(claims("user", key="0123456789")), "X-Client-IP": "192.0.2.1", "X-Request-ID": "r1"},
        )
        assert named.json() == {"user": USER, "address": "192.0.2.1", "request": "r1"}
        assert named.headers["x-request-id"] == "r1"
        nobody = await http.get("/who", headers={"Authorization": "Bearer admin-token-dev", "X-User": USER})
        assert nobody.json()["user"] == ""
        assert len(nobody.headers["x-request-id"]) == 32
        forged = await http.get("/who", headers={"X-Gateway-Identity": "v1.e30.e30"})
        assert forged.json()["code"] == "INVALID_TOKEN"
        double = await http.get(
            "/who", headers=[("X-Gateway-Identity", v) for v in signed(claims("user", key="0")).values()] * 2
        )
        assert double.status_code == 401


async def test_gzip(service: ApiService) -> None:
    """From 1024 bytes on, for whom can read it; the entity tag says that these are other bytes; Vary always."""
    async with client(service) as http:
        packed = await http.get("/long", headers={"Accept-Encoding": "br, gzip;q=0.5"})
        plain = await http.get("/long", headers={"Accept-Encoding": "gzip;q=0"})
        head = await http.head("/long", headers={"Accept-Encoding": "gzip"})
        short = await http.get("/who", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["etag"] == '"1-2-gz"'
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < 100
    assert "content-encoding" not in plain.headers
    assert plain.headers["etag"] == '"1-2"'
    assert (head.content, head.headers["etag"], head.headers["content-length"]) == (
        b"",
        '"1-2-gz"',
        packed.headers["content-length"],
    )
    assert "content-encoding" not in short.headers
    assert plain.headers["cache-control"] == "no-cache"
    assert short.headers["cache-control"] == "no-store"
    assert gzip.compress(b"") != b""


async def test_deadline(service: ApiService) -> None:
    """The work is cancelled when the gateway's time is over: 504."""
    async with client(service) as http:
        answer = await http.get("/slow", headers={"X-Request-Timeout-Ms": "20"})
    assert (answer.status_code, answer.json()["code"]) == (504, "TIMEOUT")


async def test_a_fault_of_ours_says_nothing_about_itself(service: ApiService, caplog: pytest.LogCaptureFixture) -> None:
    """500 with the request's id; the stack goes to the log."""
    with caplog.at_level(logging.ERROR):
        async with client(service) as http:
            answer = await http.get("/broken", headers={"X-Request-ID": "r9"})
    assert (answer.status_code, answer.json()["requestId"]) == (500, "r9")
    assert "SELECT" not in answer.text


async def test_counted_by_route_not_by_path(service: ApiService) -> None:
    """A thousand unknown paths and methods are one series (old fault 13a)."""
    async with client(service) as http:
        for n in range(50):
            await http.request(f"BREW{n}", f"/nowhere/{n}")
        await http.get("/who")
        await http.head("/who")
    counted = dict(service.services.metrics.requests.items())
    assert counted == {("_OTHER", "other", "404"): 50, ("GET", "/who", "200"): 1, ("HEAD", "/who", "200"): 1}
    assert service.services.runtime.traffic.requests == 52
    assert service.services.load.in_flight == 0
    assert service.services.metrics.errors.items() == [(("NOT_FOUND",), 50)]


async def test_draining_closes(service: ApiService) -> None:
    """While draining every answer says Connection: close."""
    async with client(service) as http:
        assert "connection" not in (await http.get("/who")).headers
        service.services.runtime.drain.set(on=True, timeout_s=None)
        assert (await http.get("/who")).headers["connection"] == "close"


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 30), ("20", 0.02), ("999999", 30), ("-5", 30), ("x", 30), ("٣", 30), ("1" * 5000, 30)]
)
def test_deadline_s(text: str, seconds: float) -> None:
    """It may only shorten; the gateway has refused what is malformed."""
    assert deadline_s(Headers({"x-request-timeout-ms": text} if text.isascii() else {})) == seconds


@pytest.mark.parametrize(
    ("accept", "yes"),
    [("gzip", True), ("*", True), ("br;q=1, GZIP ; q=0.1", True), ("gzip;q=0", False), ("br", False), ("", False)],
)
def test_accepts_gzip(accept: str, yes: bool) -> None:
    """A quality of zero is a no."""
    assert accepts_gzip(Headers({"accept-encoding": accept})) is yes
