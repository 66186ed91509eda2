"""Control ports of thousands of pods, told something by the leader alone.

httpx over aiohttp's connections: httpcore looks at every connection it keeps for each request, which with thousands of
hosts was two thirds of the operator's time. A connection is kept a little longer than the pace of an object that is
called, so an idle object's pods, asked every few seconds, hold none. Caller: main.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from scalable_operator.lease import Lease
from services.controller.backend import Pod
from services.controller.pods import CALL_S, Answer, HttpControlPorts

CONNECTIONS: Final = 512
KEPT_S: Final = 1.5


class LeaderPorts(HttpControlPorts):
    """`ControlPorts`; the Lease is asked right before a push or a drain, as for every write."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(_client())
        self._lease = lease

    async def push(self, pods: Iterable[Pod], token: str, epoch: int, document: bytes) -> Mapping[str, Answer]:
        return await super().push(pods, token, epoch, document) if self._lease.may_write() else {}

    async def drain(self, pods: Iterable[Pod], token: str, epoch: int, *, on: bool) -> frozenset[str]:
        return await super().drain(pods, token, epoch, on=on) if self._lease.may_write() else frozenset()


def _client() -> httpx.AsyncClient:
    """Plain HTTP, nothing of the environment, no cookies; the timeout is each call's."""
    transport = AiohttpTransport(client=_session, verify=False, trust_env=False)
    return httpx.AsyncClient(transport=transport, timeout=CALL_S, trust_env=False)


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEPT_S)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
