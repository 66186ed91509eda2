"""Requests to the real apis of a fleet, past its gateway: signed as the gateway would."""

from __future__ import annotations

import base64
from typing import Any

import httpx

from services.core.identity import Claims
from tests.harness.fleet import Fleet, Node
from tests.harness.http import client
from tests.integration.api_process import signed


def headers(fleet: Fleet, who: Claims | None) -> dict[str, str]:
    secret = base64.b64decode(fleet.plan.secrets.identity_secrets.partition(",")[0])
    return {"X-Gateway-Identity": signed(who, secret)} if who is not None else {}


async def send(
    fleet: Fleet, node: Node, method: str, path: str, who: Claims | None = None, **options: Any
) -> httpx.Response:
    async with client(node.url) as http:
        return await http.request(method, path, headers=headers(fleet, who) | options.pop("headers", {}), **options)
