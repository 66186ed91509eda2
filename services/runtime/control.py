"""The control port: a second, private listener of every process, Starlette on uvicorn inside the process's own loop.

Contract.md 1.11. `/livez`, `/readyz`, `/metrics` are open to probes and scrapers; all under `/control/` wants the
bearer token (compared in constant time), takes at most 1 MiB and refuses a lower `X-Controller-Epoch` than one seen
before, so that a deposed controller cannot undo what its successor did. Components add their routers (explain,
breakers, endpoints) before the start; the guard covers them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import socket
from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated, Any, Final

import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime import tasks
from services.runtime.tiers import Refused, TiersHolder
from services.runtime.vitals import Events
from services.schema import snapshot as snapshots

if TYPE_CHECKING:
    from services.runtime.process import Runtime, Service

BODY_MAX: Final = 1 << 20
SNAPSHOT_KEPT_S: Final = 0.1  # many readers, one reckoning
DRAIN_MAX_S: Final = 600


class ControlModel(BaseModel):
    """Bodies of the control port: camelCase, nothing unknown."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class DrainRequest(ControlModel):
    on: bool
    timeout_seconds: Annotated[float, Field(gt=0, le=DRAIN_MAX_S)] = 60


class Guard:
    """Token, epoch and size, before any route is looked up."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token, self._epoch = app, f"Bearer {token}".encode(), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/control/"):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if (refusal := self._refuse(scope["method"], headers)) is not None:
            await refusal(scope, receive, send)
            return
        body = await _whole(receive)
        if body is None:
            await _errors(413, f"at most {BODY_MAX} bytes")(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)

    def _refuse(self, method: str, headers: dict[bytes, bytes]) -> Response | None:
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._token):
            return _errors(401, "the control token is missing or wrong", {"www-authenticate": 'Bearer realm="control"'})
        if (length := headers.get(b"content-length", b"0")).isdigit() and int(length) > BODY_MAX:
            return _errors(413, f"at most {BODY_MAX} bytes")
        epoch = headers.get(b"x-controller-epoch")
        if epoch is None or method not in {"PUT", "POST", "DELETE"}:
            return None
        if not epoch.isdigit() or len(epoch) > 18:
            return _errors(400, "X-Controller-Epoch must be a whole number")
        if int(epoch) < self._epoch:
            return _errors(409, f"epoch {int(epoch)} is over, {self._epoch} was seen")
        self._epoch = int(epoch)
        return None


def build(rt: Runtime[Any], service: Service) -> ASGIApp:
    """The control port's application; the component's routers are in `rt.routers`."""
    routes = [*_probes(rt, service), *_state(rt, service)]
    if rt.tiers is not None:
        routes += _tiers(rt.tiers, rt.events)
    if rt.routers:
        from services.runtime.control_routes import routed  # ten megabytes that the operator has no use for

        routes.append(Mount("", routed(rt.routers)))
    app = Starlette(routes=routes, exception_handlers={ValidationError: _invalid})
    return Guard(app, rt.settings.control_token)


class ControlServer:
    """uvicorn on our own socket and loop, without its signal handlers."""

    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, server_header=False, timeout_keep_alive=75
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    def start(self, host: str, port: int) -> int:
        """Bind, serve, return the port. Raises OSError when it is taken."""
        sock = bind(host, port)
        self._task = tasks.spawn(self._server.serve(sockets=[sock]), name="control-port")
        return int(sock.getsockname()[1])

    async def stop(self, within_s: float = 2.0) -> None:
        self._server.should_exit = True
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await asyncio.shield(self._task)
            await tasks.stop(self._task)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # process.py owns the signals


def bind(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    sock.settimeout(0)
    return sock


def _probes(rt: Runtime[Any], service: Service) -> list[BaseRoute]:
    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        red = [name for name, ok in rt.readiness(service).items() if not ok]
        return PlainTextResponse(f"not ready: {', '.join(red)}" if red else "ok", 503 if red else 200)

    async def metrics(request: Request) -> Response:
        body, kind = rt.metrics.render(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": kind})

    return [Route(f"/{call.__name__}", call) for call in (livez, readyz, metrics)]


def _state(rt: Runtime[Any], service: Service) -> list[BaseRoute]:
    kept: tuple[float, bytes] = (-1.0, b"")

    async def snapshot(_: Request) -> Response:
        nonlocal kept
        now = asyncio.get_running_loop().time()
        if now - kept[0] > SNAPSHOT_KEPT_S or kept[0] < 0:
            kept = (now, snapshots.encode(service.snapshot()))
        return Response(kept[1], media_type="application/json")

    async def drain(request: Request) -> Response:
        body = DrainRequest.model_validate_json(await request.body())
        rt.drain.set(body.on, body.timeout_seconds)
        return JSONResponse({"draining": rt.drain.draining, "inFlight": service.snapshot().in_flight})

    return [Route("/control/v1/snapshot", snapshot), Route("/control/v1/drain", drain, methods=["POST"])]


def _tiers(holder: TiersHolder, events: Events) -> list[BaseRoute]:
    async def in_force(_: Request) -> Response:
        """The document itself, for the api, which has none of its own."""
        return JSONResponse(holder.document.model_dump(mode="json", by_alias=True, exclude_none=True))

    async def pushed(request: Request) -> Response:
        outcome = holder.push(await request.body())
        if isinstance(outcome, Refused):
            if not outcome.stale:
                events.add("tiers.refused", "tiers", outcome.errors[0], "warning")
            return JSONResponse({"errors": list(outcome.errors)}, 409 if outcome.stale else 422)
        return JSONResponse({"revision": outcome.revision, "hash": outcome.hash})

    path = "/control/v1/tiers"
    return [Route(path, in_force), Route(path, pushed, methods=["PUT"])]


async def _whole(receive: Receive) -> bytes | None:
    """The request's body, None as soon as it is too large. Read before any route runs: they are few and small."""
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_MAX:
            return None
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, for the route; then whatever else the server says."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _errors(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"errors": [text]}, status, headers)


async def _invalid(_request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, ValidationError) else []
    return JSONResponse({"errors": [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in found]}, 422)
