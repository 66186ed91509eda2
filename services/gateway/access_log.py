"""Which requests are worth a line: failures of ours, slow ones, refusals of a client now and then.

On the path it is a tuple into a ring; the lines are rendered on the loop a few at a time and written by a thread
(runtime/log.py). 5xx and slow ones always; 4xx at most PER_SECOND a second, with the number left out, so that a flood
of 429 does not become a flood of lines.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from services.gateway.routing import route_of
from services.http1.exchange import Exchange
from services.runtime.log import get_log
from services.runtime.tasks import spawn, stop

RING: Final = 10_000
TICK_S: Final = 0.1
PER_TICK: Final = 64
PER_SECOND: Final = 10  # lines for 4xx

Row = tuple[str, str, str, str, int, float, float, str, str, int]
log = get_log("access")


class AccessLog:
    def __init__(self, slow_ms: int) -> None:
        self._slow_s = slow_ms / 1000
        self._ring: deque[Row] = deque(maxlen=RING)
        self._left = PER_SECOND
        self._skipped = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = spawn(self._run(), name="access-log")

    async def stop(self) -> None:
        await stop(self._task)
        while self._ring:
            self.flush()

    def note(self, x: Exchange, status: int, seconds: float) -> None:
        """Called once per request: most cost two comparisons."""
        if status < 400 and seconds < self._slow_s:
            return
        if status < 500 and seconds < self._slow_s:
            if self._left <= 0:
                self._skipped += 1
                return
            self._left -= 1
        identifier = x.identity.identifier if x.identity is not None else ""
        self._ring.append(_row(x, status, seconds, identifier))

    def flush(self) -> None:
        for _ in range(min(len(self._ring), PER_TICK)):
            row = self._ring.popleft()
            fields = _fields(row, slow=row[5] >= self._slow_s)
            (log.warning if row[4] >= 500 or row[5] >= self._slow_s else log.info)("request", **fields)

    async def _run(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            self.flush()
            ticks += 1
            if ticks % round(1 / TICK_S) == 0:
                if self._skipped:
                    log.info("requests refused without a line of their own", count=self._skipped)
                self._left, self._skipped = PER_SECOND, 0


def _row(x: Exchange, status: int, seconds: float, identifier: str) -> Row:
    ids = x.request_id.decode("latin-1"), x.trace_id.decode("latin-1")
    return (*ids, x.method.decode("latin-1"), route_of(x), status, seconds, x.upstream_s, x.reason, identifier, x.tries)


def _fields(row: Row, *, slow: bool) -> dict[str, Any]:
    request_id, trace_id, method, route, status, seconds, upstream_s, reason, identifier, tries = row
    fields: dict[str, Any] = {
        "request_id": request_id,
        "trace_id": trace_id,
        "method": method,
        "route": route,
        "status": status,
    }
    fields |= {"ms": round(1000 * seconds, 1), "upstream_ms": round(1000 * upstream_s, 1), "identifier": identifier}
    extra = {"reason": reason, "tries": tries if tries > 1 else 0, "slow": slow}
    return fields | {name: value for name, value in extra.items() if value}
