from __future__ import annotations

import asyncio
from typing import Any

import httpx

from services.api.server import Server

began, may_end = asyncio.Event(), asyncio.Event()


async def app(_scope: Any, _receive: Any, send: Any) -> None:
    began.set()
    await may_end.wait()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def test_what_is_in_flight_ends() -> None:
    """`finish` stops listening and lets a running request have its answer."""
    server = Server(app)
    port = server.listen("127.0.0.1", 0)
    async with httpx.AsyncClient(trust_env=False) as http:
        running = asyncio.ensure_future(http.get(f"http://127.0.0.1:{port}/"))
        await began.wait()
        ending = asyncio.ensure_future(server.finish(5))
        while server.started and server.servers[0].is_serving():  # noqa: ASYNC110  # uvicorn looks ten times a second
            await asyncio.sleep(0.01)
        may_end.set()
        assert (await running).text == "ok"
        await ending
    assert server._task
    assert server._task.done()
