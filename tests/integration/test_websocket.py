"""WebSockets through a real gateway and a real balancer, each end spoken by a library of its own (aiohttp): echoed, held back, drained."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from services.cli.up.environment import environment
from services.controller.backends.launch import Launcher
from tests.harness.fleet import Fleet, Node
from tests.harness.wait import eventually
from tests.integration.upgrading import PATH

DRAIN = {"DRAIN_DELAY_SECONDS": "0.2", "DRAIN_SECONDS": "3"}


@dataclass
class Echo:
    """The api: says back what it hears, until the end; keeps how each conversation ended."""

    port: int = 0
    open: int = 0
    ended: list[int | None] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    async def echo(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("upgrade") is None:
            return web.Response(text="plain")
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        socket = web.WebSocketResponse(protocols=("talk",), max_msg_size=0, compress=False)
        await socket.prepare(request)
        self.open += 1
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)
        self.open -= 1
        self.ended.append(socket.close_code)
        return socket

    async def ready(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ready", "checks": {}})


@contextlib.asynccontextmanager
async def echoing() -> AsyncIterator[Echo]:
    echo = Echo()
    app = web.Application()
    app.add_routes([web.get(PATH, echo.echo), web.get("/ready", echo.ready)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    echo.port = runner.addresses[0][1]
    try:
        yield echo
    finally:
        await runner.cleanup()


class Upgrading(Fleet):
    """Its processes know one more route."""

    def launch(self, component: str) -> Node:
        number = self._counts[component] = self._counts.get(component, 0) + 1
        command = (sys.executable, "-m", "tests.integration.upgrading", component)
        env = environment(component, self.plan, self.env.get(component)) | {"PYTHONPATH": str(Path.cwd())}
        node = Node(Launcher(self.folder / "logs", lambda _: command).start(component, f"{component}-{number}", env))
        self.nodes.append(node)
        return node


@contextlib.asynccontextmanager
async def chain(folder: Path, echo: Echo) -> AsyncIterator[Fleet]:
    file = folder / "api.json"
    file.write_text(json.dumps([{"id": "echo", "host": "127.0.0.1", "port": echo.port}]))
    balancer = {"API_SERVERS": f"file:{file}", "HEALTH_INTERVAL": "0.5", **DRAIN}
    env = {"balancer": balancer, "gateway": DRAIN}
    async with Upgrading(None, None, gateways=1, balancers=1, apis=0, env=env) as fleet:
        yield fleet


@contextlib.asynccontextmanager
async def talking(fleet: Fleet) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        session.ws_connect(f"{fleet.url}{PATH}", protocols=("talk",), max_msg_size=0) as socket,
    ):
        yield socket


async def tunnels(fleet: Fleet, node: Node) -> int:
    async with fleet.control(node) as control:
        snapshot = await control.request("GET", "/control/v1/snapshot")
    return int(snapshot["inFlight"])


async def test_echo(tmp_path: Path) -> None:
    """Texts, bytes and a message of 8 MiB come back; the handshake's fields and the chosen protocol pass; a plain request of the same
    route is served as one; the close code goes through; nothing stays in flight.
    """
    async with echoing() as echo, chain(tmp_path, echo) as fleet:
        async with talking(fleet) as socket:
            assert socket.protocol == "talk"
            assert echo.headers["sec-websocket-protocol"] == "talk"
            assert {"x-request-id", "traceparent", "via"} <= echo.headers.keys()
            for number in range(100):
                await socket.send_str(f"message {number}")
                assert await socket.receive_str() == f"message {number}"
            large = bytes(range(256)) * 32_768
            await socket.send_bytes(large)
            assert await socket.receive_bytes() == large
            assert [await tunnels(fleet, node) for node in (*fleet.gateway_nodes, *fleet.balancer_nodes)] == [1, 1]
            await socket.close(code=4000)
        await eventually(lambda: echo.ended == [4000], 5, "the close code arrives")
        for node in (*fleet.gateway_nodes, *fleet.balancer_nodes):
            await eventually(functools.partial(idle, fleet, node), 5, f"{node.id} has nothing in flight")
        async with fleet.client() as http:
            plain = await http.get(PATH)
            assert (plain.status_code, plain.text) == (200, "plain")
            elsewhere = await http.get(
                "/", headers={"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}
            )
            assert elsewhere.status_code == 404
            old = await http.get(
                PATH, headers={"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "8"}
            )
            assert (old.status_code, old.headers["sec-websocket-version"]) == (426, "13")


async def chatter(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Says something new every 20 ms until nobody listens."""
    with contextlib.suppress(ConnectionError, aiohttp.ClientConnectionError):
        for number in itertools.count():
            await socket.send_str(f"{number}")
            await asyncio.sleep(0.02)


async def idle(fleet: Fleet, node: Node) -> bool:
    return await tunnels(fleet, node) == 0


@pytest.mark.parametrize("component", ["gateway", "balancer"])
async def test_a_drain_ends_it_last(tmp_path: Path, component: str) -> None:
    """The conversation goes on while the process drains; at the drain's end both peers hear a clean end of the connection, and the process
    ends by itself with 0 inside DRAIN_SECONDS.
    """
    async with echoing() as echo, chain(tmp_path, echo) as fleet, talking(fleet) as socket:
        await socket.send_str("before")
        assert await socket.receive_str() == "before"
        began = time.monotonic()
        leaving = asyncio.ensure_future(fleet.term(fleet.of(component)[0], publish=False))
        talk = asyncio.ensure_future(chatter(socket))
        heard = [(message.type, message.data) async for message in socket]
        talked_s = time.monotonic() - began
        await talk
        assert await leaving == 0
        took_s = time.monotonic() - began
        print(f"{component}: {len(heard)} echoes during {talked_s:.1f} s of drain, ended after {took_s:.1f} s")
        assert heard == [(aiohttp.WSMsgType.TEXT, f"{number}") for number in range(len(heard))]
        assert talked_s >= 2
        assert took_s < 3.2 + 1
        await eventually(lambda: echo.open == 0, 5, "the upstream hears the end")


async def test_a_client_that_leaves_ends_a_drain(tmp_path: Path) -> None:
    """Nobody waits for DRAIN_SECONDS when the last conversation is over."""
    async with echoing() as echo, chain(tmp_path, echo) as fleet:
        async with talking(fleet) as socket:
            began = time.monotonic()
            leaving = asyncio.ensure_future(fleet.term(fleet.gateway_nodes[0], publish=False))
            await asyncio.sleep(0.5)
            await socket.send_str("still here")
            assert await socket.receive_str() == "still here"
        assert await leaving == 0
        assert time.monotonic() - began < 2
