"""Startup, liveness and readiness by HTTP, with the kubelet's periods and thresholds.

Caller: container.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx

from services.runtime.endpoints import authority
from tests.cluster.kubelet.spec import NotPlayedError

Object = dict[str, Any]
_CODES: Final = range(200, 400)


@dataclass(slots=True)
class Verdict:
    """Turns after so many results in a row; `value` is None until it has turned once."""

    success_threshold: int
    failure_threshold: int
    value: bool | None = None
    _streak: int = 0
    _last: bool | None = None

    def take(self, good: bool) -> bool | None:
        self._streak = self._streak + 1 if good == self._last else 1
        self._last = good
        if self._streak >= (self.success_threshold if good else self.failure_threshold):
            self.value = good
        return self.value


def url_of(probe: Object, container: Object, ip: str) -> str:
    """Raises NotPlayedError for a probe that is not by HTTP."""
    if "httpGet" not in probe:
        raise NotPlayedError(f"probe {', '.join(probe)}")
    get = probe["httpGet"]
    named = {port.get("name"): port["containerPort"] for port in container.get("ports", ())}
    port = named[get["port"]] if isinstance(get["port"], str) else get["port"]
    return f"{get.get('scheme', 'HTTP').lower()}://{authority(get.get('host') or ip, port)}{get.get('path', '/')}"


async def ask(http: httpx.AsyncClient, url: str, probe: Object) -> bool:
    """One look; a new connection each time, as the kubelet does."""
    headers = {"connection": "close"} | {h["name"]: h["value"] for h in probe["httpGet"].get("httpHeaders", ())}
    try:
        answer = await http.get(url, headers=headers, timeout=probe.get("timeoutSeconds", 1))
    except httpx.HTTPError:
        return False
    return answer.status_code in _CODES


async def probing(probe: Object, look: Callable[[], Awaitable[bool]], turned: Callable[[bool], bool]) -> None:
    """Looks each period and tells each verdict; ends when `turned` returns False."""
    verdict = Verdict(probe.get("successThreshold", 1), probe.get("failureThreshold", 3))
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    while True:
        found = verdict.take(await look())
        if found is not None and not turned(found):
            return
        await asyncio.sleep(probe.get("periodSeconds", 10))
