"""The outermost layer of the api: what is the same for every request, in the order it happens.

identity → deadline → the application → one place where exceptions become answers → common headers, gzip → metrics.
Pure ASGI: no task or stream per request is added. Identity is believed only with the gateway's signature (contract.md
2.1); no header: anonymous.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.access import Caller
from services.api.errors import Problem, from_exception, render
from services.core.identity import verify
from services.runtime.log import get_log

if TYPE_CHECKING:
    from services.api.services import Services

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
DEADLINE_MS: Final = 30_000
GZIP_MIN: Final = 1024
GZIP_LEVEL: Final = 4  # 256 KiB in 3 ms on the loop; level 9 takes 9 ms for 2 % less
GZIP_TYPES: Final = ("application/json", "application/problem+json", "text/html", "text/plain", "text/css")
log = get_log(__name__)


class Edge:
    """Added to the application as its only middleware."""

    def __init__(self, app: ASGIApp, services: Services, api: FastAPI) -> None:
        self._app = app
        self._services = services
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        services = self._services
        started = time.perf_counter()
        headers = Headers(scope=scope)
        request_id = headers.get("x-request-id") or secrets.token_hex(16)
        address = headers.get("x-client-ip") or (scope["client"][0] if scope.get("client") else "")
        inner: Scope = {**scope, "caller": Caller(None, address, request_id)}
        out = Outgoing(send, self._common(request_id), head=scope["method"] == "HEAD", gzip=accepts_gzip(headers))
        services.load.in_flight += 1
        trace = services.spans and services.spans.begin(headers.get("traceparent", ""))
        try:
            await self._answer(inner, headers, receive, out)
        finally:
            services.load.in_flight -= 1
            self._count(scope["method"], inner, out.status, time.perf_counter() - started)
            if trace:
                trace.end(scope["method"], route_of(inner), out.status)

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, out: Outgoing) -> None:
        try:
            self._identify(scope, headers)
            if scope["method"] == "HEAD":
                scope["method"] = "GET"  # routes know GET; the body is dropped on its way out
            async with asyncio.timeout(deadline_s(headers)):
                await self._app(scope, receive, out)
        except Exception as error:  # the one place where exceptions become answers
            late = isinstance(error, TimeoutError)
            problem = Problem("gateway-timeout") if late else from_exception(error, self._api, scope)
            if problem.slug == "internal-error":
                log.exception("request failed", request_id=scope["caller"].request_id, path=scope["path"])
            if out.started:
                raise  # the head is out: only a cut connection can say that the rest is missing
            self._services.metrics.errors.inc(problem.type.code)
            answer = render(
                problem, self._services.settings.problem_base_uri, scope["path"], scope["caller"].request_id
            )
            await answer(scope, receive, out)

    def _identify(self, scope: Scope, headers: Headers) -> None:
        values = headers.getlist("x-gateway-identity")
        if not values:
            return
        claims = (
            verify(values[0].encode(), self._services.settings.identity_secrets, time.time())
            if len(values) == 1
            else None
        )
        if claims is None:
            challenge = {"WWW-Authenticate": 'Bearer realm="scalable-api", error="invalid_token"'}
            raise Problem("invalid-token", headers=challenge)
        who: Caller = scope["caller"]
        scope["caller"] = Caller(claims, who.address, who.request_id)
        if claims.sid:
            self._services.sessions.touch(claims.sid, time.monotonic())

    def _common(self, request_id: str) -> Mapping[str, str]:
        services = self._services
        common = {
            "X-Request-ID": request_id,
            "X-Served-By": services.settings.instance_id,
            "X-Api-Load": str(services.load.percent),
            "Cache-Control": "no-store",
        }
        return common | {"Connection": "close"} if services.runtime.drain.draining else common

    def _count(self, method: str, scope: Scope, status: int, seconds: float) -> None:
        services, traffic = self._services, self._services.runtime.traffic
        name = method if method in METHODS else "_OTHER"
        route = route_of(scope)
        services.metrics.requests.inc(name, route, str(status))
        services.metrics.seconds.series(name, route).observe(seconds)
        traffic.requests += 1
        traffic.errors += status >= 500
        traffic.durations.observe(seconds)
        if seconds * 1000 >= services.settings.slow_request_ms:
            log.warning("slow request", method=name, route=route, status=status, ms=round(seconds * 1000, 1), slow=True)


def route_of(scope: Scope) -> str:
    """The template that answered; `other` where none did."""
    return getattr(scope.get("route"), "path", "other")


class Outgoing:
    """The way out: common headers, gzip, no body for HEAD. The head is held until the first piece of the body shows
    what to do.
    """

    def __init__(self, send: Send, common: Mapping[str, str], *, head: bool, gzip: bool) -> None:
        self._send = send
        self._common = common
        self._head = head
        self._gzip = gzip
        self._held: Message | None = None
        self.status = 499  # the client went before there was an answer
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._held = message
            headers = MutableHeaders(raw=message["headers"])
            for name, value in self._common.items():
                headers.setdefault(name, value)
            return
        if self._held is not None:
            held, self._held = self._held, None
            self._finish(held, message)
            self.started = True
            await self._send(held)
        if self._head:
            message = {**message, "body": b""}
        await self._send(message)

    def _finish(self, start: Message, first: Message) -> None:
        headers = MutableHeaders(raw=start["headers"])
        body: bytes = first.get("body", b"")
        kind = headers.get("content-type", "").partition(";")[0]
        if start["status"] == 304:
            headers.add_vary_header("Accept-Encoding")
        if (
            kind not in GZIP_TYPES
            or len(body) < GZIP_MIN
            or first.get("more_body", False)
            or "content-encoding" in headers
        ):
            return
        headers.add_vary_header("Accept-Encoding")
        if not self._gzip:
            return
        packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
        first["body"] = packer.compress(body) + packer.flush()
        headers["content-encoding"] = "gzip"
        headers["content-length"] = str(len(first["body"]))
        if etag := headers.get("etag"):
            headers["etag"] = f'{etag[:-1]}-gz"'


def accepts_gzip(headers: Headers) -> bool:
    """`gzip` or `*` with a quality above zero."""
    for part in headers.get("accept-encoding", "").lower().split(","):
        coding, _, quality = part.partition(";")
        if coding.strip() in {"gzip", "*"} and quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}:
            return True
    return False


def deadline_s(headers: Headers) -> float:
    """What the gateway left of the request's time; it has checked the header, so odd values only mean the default."""
    text = headers.get("x-request-timeout-ms", "")
    ms = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else DEADLINE_MS
    return min(ms, DEADLINE_MS) / 1000
