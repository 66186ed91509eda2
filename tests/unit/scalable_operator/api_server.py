"""A small API server for unit tests: objects by path, resourceVersions that are checked, scripted refusals."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import kopf
from aiohttp import web


class ApiServer:
    """`objects[path]`; `lists[path]` = pages of metadata; `script` = codes that the next requests get instead of an answer; `asked` = method and path."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.lists: dict[str, list[list[dict[str, Any]]]] = {}
        self.script: list[int] = []
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.url, self.token = "", "t-1"
        self._version = 0

    def login(self) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=self.url, token=self.token)

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        stored = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self._version)}}
        self.objects[path] = stored
        return stored

    def _page(self, path: str, number: int) -> dict[str, Any]:
        pages = self.lists[path]
        more = {"continue": str(number + 1)} if number + 1 < len(pages) else {}
        return {"metadata": more, "items": [{"metadata": metadata} for metadata in pages[number]]}

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        self.headers.append(dict(request.headers))
        if self.script:
            return web.json_response({"message": "scripted"}, status=self.script.pop(0), headers={"Retry-After": "7"})
        path = request.path
        if request.method == "GET" and path in self.lists:
            return web.json_response(self._page(path, int(request.query.get("continue") or 0)))
        if request.method == "GET":
            found = self.objects.get(path)
            return web.json_response(found or {"message": "not found"}, status=200 if found else 404)
        body = await request.json()
        if request.method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                return web.json_response({"message": "already exists"}, status=409)
            return web.json_response(self.put(path, body), status=201)
        stored = self.objects.get(path)
        if stored is None:
            return web.json_response({"message": "not found"}, status=404)
        version = body["metadata"].get("resourceVersion")
        if version not in {None, stored["metadata"]["resourceVersion"]}:
            return web.json_response({"message": "changed"}, status=409)
        return web.json_response(self.put(path, body if request.method == "PUT" else {**stored, **body}))


@contextlib.asynccontextmanager
async def api_server() -> AsyncIterator[ApiServer]:
    server, app = ApiServer(), web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
