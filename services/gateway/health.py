"""The gateway's own health paths on the data port (contract.md 1.10): answered here, whatever Redis or Postgres do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Final

from services.core.verdicts import Answer
from services.runtime.vitals import rfc3339

SERVICE: Final = "api-gateway"
HEADERS: Final = (b"Content-Type: application/json\r\n", b"Cache-Control: no-store\r\n")


class GatewayHealth:
    """`about`: version, instance, wall time of the start; `readiness`: checks by name; `redis`: whether it is there,
    told but not counted.
    """

    def __init__(
        self, about: tuple[str, str, float], readiness: Callable[[], Mapping[str, bool]], redis: Callable[[], bool]
    ) -> None:
        self._version, self._instance, self._started_at = about
        self._readiness, self._redis = readiness, redis

    def answer(self, template: str) -> Answer:
        if template == "/health":
            return _json(200, self._health())
        if template == "/health/live":
            return _json(200, {"status": "alive"})
        checks = dict(self._readiness())
        ready = all(checks.values())
        redis = "connected" if self._redis() else "disconnected"
        body = {
            "status": "ready" if ready else "not ready",
            "checks": checks,
            "redis": redis,
            "instanceId": self._instance,
        }
        return _json(200 if ready else 503, body)

    def _health(self) -> dict[str, object]:
        now = time.time()
        return {
            "status": "healthy",
            "service": SERVICE,
            "version": self._version,
            "timestamp": rfc3339(now),
            "uptime": round(now - self._started_at, 3),
        }


def _json(status: int, body: Mapping[str, object]) -> Answer:
    return Answer(status, HEADERS, json.dumps(body, separators=(",", ":")).encode())
