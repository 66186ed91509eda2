"""An HTTP proxy before the real API server that breaks what it is told to: answers, watches, and its client.

Plain HTTP on loopback in front, TLS behind; the caller's own token goes through, so rights and the audit log stay real. A test adds
`Rule`s: the first that fits a call acts, and is spent after `times` of them. Writes are counted as they come in; `at_write` is asked
before one is passed on and after it was answered, may end the client there, and says whether the exchange goes on.

Longer than 200 lines because the faults and the relay that does them are one table and its walker.

Caller: tests of the operator's promises under faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.cluster.control_plane import ControlPlane, free_ports

WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
HOP: Final = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})
READ_S: Final = 700.0  # a watch may be silent as long as it lasts
START_S: Final = 20.0
EXPIRED: Final = b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410}}\n'
SWAP_S: Final = 0.3  # how long a thing waits for another to change places with


@dataclass(frozen=True, slots=True)
class Call:
    """What the client asked."""

    method: str
    path: str
    query: str = ""

    @property
    def is_watch(self) -> bool:
        return "watch=true" in self.query.lower()

    @property
    def is_write(self) -> bool:
        """Of the cluster's state: leases renew all the time, and a token is no state."""
        return self.method in WRITES and "/leases" not in self.path and "/events" not in self.path


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer it here, as the API server would."""

    status: int
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """Pass it on so much later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Silence:
    """A watch that stays open and says nothing."""


@dataclass(frozen=True, slots=True)
class Expire:
    """A watch that is told its resourceVersion is too old: an event ERROR with 410, as the API server does it."""


@dataclass(frozen=True, slots=True)
class Twice:
    """A watch that says everything two times."""


@dataclass(frozen=True, slots=True)
class Swap:
    """A watch that says every second thing before the first."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends without an answer: `after` the server has done it, or before it heard of it."""

    after: bool = False


Action = Refuse | Delay | Silence | Expire | Twice | Swap | Cut


@dataclass(slots=True)
class Rule:
    """What happens to calls that fit."""

    fits: Callable[[Call], bool]
    action: Action
    times: int = 1_000_000


Moment = Literal["before", "after"]


@dataclass(slots=True)
class FaultProxy:
    """`url` for the client's kubeconfig. Rules may be set at any time; `heal` ends them, and every watch with them."""

    url: str
    rules: list[Rule] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    writes: int = 0
    at_write: Callable[[int, Moment, Call], bool] = lambda _number, _moment, _call: True
    end_watches: Callable[[], None] = lambda: None
    """Those that are open: the next ones are under the rules."""

    def add(self, fits: Callable[[Call], bool], action: Action, times: int = 1_000_000) -> None:
        self.rules.append(Rule(fits, action, times))

    def heal(self) -> None:
        self.rules.clear()
        self.end_watches()

    def action(self, call: Call) -> Action | None:
        """The first rule that fits, one use of it spent."""
        for rule in self.rules:
            if rule.times > 0 and rule.fits(call):
                rule.times -= 1
                return rule.action
        return None


@contextlib.contextmanager
def fault_proxy(plane: ControlPlane) -> Iterator[FaultProxy]:
    """Runs one in a thread of its own; its connections end with it."""
    (port,) = free_ports(1)
    proxy = FaultProxy(f"http://127.0.0.1:{port}")
    methods = ["GET", "HEAD", *sorted(WRITES)]
    relay = _Relay(proxy, plane)
    app = Starlette(routes=[Route("/{path:path}", relay, methods=methods)], lifespan=relay.lifespan)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="fault proxy")
    thread.start()
    try:
        _await_start(server, thread)
        yield proxy
    finally:
        proxy.heal()
        server.should_exit = True
        thread.join(START_S)
        assert not thread.is_alive(), "the fault proxy did not end"


def _await_start(server: uvicorn.Server, thread: threading.Thread) -> None:
    for _ in range(round(START_S / 0.02)):
        if server.started or not thread.is_alive():
            break
        thread.join(0.02)
    assert server.started, "the fault proxy did not start"


class _Relay:
    def __init__(self, proxy: FaultProxy, plane: ControlPlane) -> None:
        self._proxy, self._plane = proxy, plane
        self._behind: httpx.AsyncClient
        self._ended: asyncio.Event

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._ended, loop = asyncio.Event(), asyncio.get_running_loop()
        self._proxy.end_watches = lambda: _end(loop, self._end_watches)
        trust = ssl.create_default_context(cafile=str(self._plane.authority))
        timeout = httpx.Timeout(10, read=READ_S)
        async with httpx.AsyncClient(
            base_url=self._plane.url, verify=trust, trust_env=False, timeout=timeout
        ) as behind:
            self._behind = behind
            yield

    def _end_watches(self) -> None:
        self._ended.set()
        self._ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        call = Call(request.method, request.url.path, request.url.query)
        self._proxy.calls.append(call)
        action = self._proxy.action(call)
        answer = await self._answer(request, call, action)
        if answer is None:  # uvicorn cuts the connection of an application that says nothing after it said it would
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
            return
        await answer(scope, receive, send)

    async def _answer(self, request: Request, call: Call, action: Action | None) -> Response | None:
        if isinstance(action, Refuse):
            return _status(action)
        if action == Cut(after=False):
            return None
        if isinstance(action, Delay):
            await asyncio.sleep(action.seconds)
        if call.is_watch:
            return await self._watched(request, call, action)
        return await self._once(request, call, action)

    async def _watched(self, request: Request, call: Call, action: Action | None) -> Response:
        if isinstance(action, Silence | Expire):
            return StreamingResponse(self._feigned(action), media_type="application/json")
        onward = await self._onward(request, call)  # its body first: what is streamed next has no more to read
        found = await self._behind.send(onward, stream=True)
        if found.is_error:
            return Response(await found.aread(), found.status_code)
        return StreamingResponse(self._watch(found, action), media_type="application/json")

    async def _once(self, request: Request, call: Call, action: Action | None) -> Response | None:
        self._proxy.writes += call.is_write
        number = self._proxy.writes
        if call.is_write and not self._proxy.at_write(number, "before", call):
            return None
        found = await self._behind.send(await self._onward(request, call))
        if isinstance(action, Cut) or (call.is_write and not self._proxy.at_write(number, "after", call)):
            return None
        kept = {name: value for name, value in found.headers.items() if name not in {*HOP, "content-encoding"}}
        return Response(found.content, found.status_code, kept)

    async def _onward(self, request: Request, call: Call) -> httpx.Request:
        headers = {name: value for name, value in request.headers.items() if name not in HOP}
        url = f"{call.path}?{call.query}" if call.query else call.path
        return self._behind.build_request(call.method, url, headers=headers, content=await request.body() or None)

    async def _feigned(self, action: Silence | Expire) -> AsyncIterator[bytes]:
        if isinstance(action, Expire):
            yield EXPIRED
        else:
            await self._ended.wait()

    async def _watch(self, found: httpx.Response, action: Action | None) -> AsyncIterator[bytes]:
        lines = _until(self._ended, found.aiter_lines())
        try:
            async for line in _swapped(lines) if isinstance(action, Swap) else lines:
                text = line.encode() + b"\n"
                yield text * 2 if isinstance(action, Twice) else text
        finally:
            await found.aclose()


async def _until(ended: asyncio.Event, lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The lines that come before it."""
    over = asyncio.ensure_future(ended.wait())
    try:
        while True:
            coming = asyncio.ensure_future(anext(lines, None))
            await asyncio.wait({coming, over}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                await asyncio.wait({coming})
                return
            line = coming.result()
            if line is None:
                return
            yield line
    finally:
        over.cancel()


async def _swapped(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """Of two that come close together, the second first; one that comes alone is not kept."""
    held: str | None = None
    coming: asyncio.Future[str] | None = None
    while True:
        coming = coming or asyncio.ensure_future(anext(lines))
        done, _ = await asyncio.wait([coming], timeout=None if held is None else SWAP_S)
        if not done:
            assert held is not None
            yield held
            held = None
            continue
        try:
            line = coming.result()
        except StopAsyncIteration:
            break
        coming = None
        if held is None:
            held = line
            continue
        yield line
        yield held
        held = None
    if held is not None:
        yield held


def _end(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the proxy has ended
        loop.call_soon_threadsafe(call)


def _status(refuse: Refuse) -> Response:
    headers = {} if refuse.retry_after_s is None else {"Retry-After": str(refuse.retry_after_s)}
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": refuse.status, "message": "by the test"}
    return JSONResponse(body, refuse.status, headers)
