"""One api alone, over real stores and real HTTP, in the test's own loop; the test plays the gateway and signs.

async with Api.open(database, valkey) as api: await api.post("/api/v1/keys", USER_SESSION, json={…})
"""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import httpx

from services.api.access import ROLE_SCOPES
from services.api.app import ApiService
from services.core.credentials import session_id
from services.core.identity import LIFE_S, Claims, sign
from services.runtime.process import make_runtime
from services.runtime.settings import ApiSettings
from tests.harness.http import client
from tests.harness.stores import Database, ValkeyServer

ADMIN = "00000000-0000-0000-0000-000000000001"
USER = "00000000-0000-0000-0000-000000000002"
USER_PASSWORD = "user123"
SECRET = bytes(range(32))


def settings(database_url: str, redis_url: str, **more: Any) -> ApiSettings:
    given = {
        "instance_id": "api-1",
        "host": "127.0.0.1",
        "port": "0",
        "control_token": "control-token-of-the-tests",
        "demo_mode": "true",
        "identity_secrets": base64.b64encode(SECRET).decode(),
        "api_key_peppers": "1:" + base64.b64encode(bytes(range(1, 33))).decode(),
        "fleet": "http://127.0.0.1:1",
        "redis_url": redis_url,
        "database_url": database_url,
    }
    return ApiSettings.model_validate(given | more)


def identity(
    user: str, role: str, *, tier: str = "free", key: str = "", scopes: tuple[str, ...] = (), sid: str = ""
) -> Claims:
    via = "key" if key else "bearer"
    held = scopes if key else tuple(sorted(ROLE_SCOPES[role]))
    return Claims(user, key, sid, via, role, tier, held, 0)


def signed(who: Claims, secret: bytes = SECRET) -> str:
    """X-Gateway-Identity as a gateway would send it at this moment: a constant's claims must not age while the suite runs."""
    return sign(replace(who, exp=max(who.exp, int(time.time()) + LIFE_S)), secret).decode()


ADMIN_SESSION = identity(ADMIN, "admin", tier="enterprise", sid="0" * 64)
USER_SESSION = identity(USER, "user", sid="1" * 64)


@dataclass
class Api:
    """The service and a client of it. `who`: the claims the gateway would send; None: anonymous."""

    service: ApiService
    http: httpx.AsyncClient
    database: Database

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, database: Database, valkey: ValkeyServer, **more: Any) -> AsyncIterator[Api]:
        service = ApiService(make_runtime(settings(database.app, valkey.url, **more)))
        port = await service.start()
        async with client(f"http://127.0.0.1:{port}") as http:
            try:
                yield cls(service, http, database)
            finally:
                await http.aclose()
                await service.close(2.0)

    async def send(
        self, method: str, path: str, who: Claims | None = None, address: str = "192.0.2.1", **options: Any
    ) -> httpx.Response:
        headers = {"X-Client-IP": address, **options.pop("headers", {})}
        if who is not None:
            headers["X-Gateway-Identity"] = signed(who)
        return await self.http.request(method, path, headers=headers, **options)

    async def post(self, path: str, who: Claims | None = None, **options: Any) -> httpx.Response:
        return await self.send("POST", path, who, **options)

    async def get(self, path: str, who: Claims | None = None, **options: Any) -> httpx.Response:
        return await self.send("GET", path, who, **options)

    async def delete(self, path: str, who: Claims | None = None, **options: Any) -> httpx.Response:
        return await self.send("DELETE", path, who, **options)

    async def log_in(
        self, email: str = "user@example.com", password: str = USER_PASSWORD, **options: Any
    ) -> httpx.Response:
        return await self.post("/api/v1/auth/login", json={"email": email, "password": password, **options})

    async def claims_of(self, token: str, via: str = "bearer") -> Claims | None:
        """What the gateway would find for a session token: nothing when Redis does not know it."""
        session = await self.service.services.sessions.get(session_id(token.encode()))
        if session is None:
            return None
        user = session.user
        return replace(identity(user.id, user.role, tier=user.tier, sid=session.sid), via=via)

    async def sql(self, statement: str, *args: Any) -> list[asyncpg.Record]:
        """As the database's owner."""
        connection = await asyncpg.connect(self.database.owner)
        try:
            return await connection.fetch(statement, *args)
        finally:
            await connection.close()

    async def actions(self) -> list[str]:
        """The audit log's actions in order."""
        return [row["action"] for row in await self.sql("SELECT action FROM audit_log ORDER BY seq")]
