from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from services.api.links import LoginLinks, _key, link_router
from services.runtime.redis import connect


class Store:
    """As much of Redis as a link needs."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def set(self, key: str, value: bytes, ex: object) -> None:
        self.kept[key] = value

    async def getdel(self, key: str) -> bytes | None:
        return self.kept.pop(key, None)


async def test_once() -> None:
    """A link is good once; what is kept is its hash."""
    store = Store()
    links = LoginLinks(store)  # type: ignore[arg-type]
    token = (await links.make()).token
    assert list(store.kept) == [_key(token)]
    assert token not in _key(token)
    assert [await links.use(token), await links.use(token), await links.use("x")] == [True, False, False]


@pytest.mark.parametrize(("store", "status"), [(Store(), 200), (connect("redis://127.0.0.1:1/0"), 503)])
async def test_control_route(store: Any, status: int) -> None:
    """The answer names the end in RFC 3339; without Redis there is no link."""
    links = LoginLinks(store)
    app = FastAPI()
    app.include_router(link_router(links))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://c") as http:
        answer = await http.post("/control/v1/login-link")
    assert answer.status_code == status
    assert status == 503 or set(answer.json()) == {"token", "expiresAt"}
