"""An api whose stores are away: enough for everything that is decided before a store is asked."""

from __future__ import annotations

import base64
import time
from typing import Any

import httpx

from services.api.access import ROLE_SCOPES
from services.api.app import ApiService
from services.core.identity import Claims, sign
from services.runtime.process import make_runtime
from services.runtime.settings import ApiSettings

SECRET = bytes(range(32))
USER = "00000000-0000-0000-0000-000000000002"


def settings(**more: Any) -> ApiSettings:
    given = {
        "instance_id": "api-1",
        "host": "127.0.0.1",
        "port": "0",
        "control_token": "control-token-of-the-tests",
        "demo_mode": "true",
        "identity_secrets": base64.b64encode(SECRET).decode(),
        "api_key_peppers": "1:" + base64.b64encode(bytes(range(1, 33))).decode(),
        "fleet": "http://127.0.0.1:1",
        "redis_url": "redis://127.0.0.1:1/0",
        "database_url": "postgresql://nobody@127.0.0.1:1/none",
    }
    return ApiSettings.model_validate(given | more)


def offline(**more: Any) -> ApiService:
    return ApiService(make_runtime(settings(**more)))


def client(service: ApiService) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://127.0.0.1:8080")


def claims(role: str, *, key: str = "", scopes: tuple[str, ...] = (), via: str = "") -> Claims:
    """A session of the role, or a key of its owner."""
    held = scopes if key else tuple(sorted(ROLE_SCOPES[role]))
    how = via or ("key" if key else "bearer")
    return Claims(USER, key, "" if key else "1" * 64, how, role, "free", held, int(time.time()) + 60)


def signed(who: Claims | None) -> dict[str, str]:
    """The gateway's header."""
    return {} if who is None else {"X-Gateway-Identity": sign(who, SECRET).decode()}
