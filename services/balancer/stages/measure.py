"""In flight, requests, statuses, durations: plain numbers, read when somebody scrapes or asks for a snapshot."""

from __future__ import annotations

from typing import Final

from services.core.verdicts import Outcome
from services.http1.exchange import Exchange
from services.runtime.vitals import Traffic

METHODS: Final = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE")
OTHER: Final = "_OTHER"
STATUSES: Final = 600
SWITCHED: Final = 101  # a tunnel took as long as its peers wished: what counts is the handshake


class Measure:
    """`rows` count answers per method and status."""

    __slots__ = ("_durations", "_traffic", "in_flight", "other", "rows")

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._durations = traffic.durations
        self.in_flight = 0
        self.rows = {method: [0] * STATUSES for method in METHODS}
        self.other = [0] * STATUSES

    def enter(self, x: Exchange) -> Outcome:
        self.in_flight += 1
        x.route = self  # counted: `leave` has something to settle
        return None

    def leave(self, x: Exchange) -> None:
        """on_finish. Health was never counted; who left before any head has no status: the engine counts it."""
        if x.route is None:
            return
        self.in_flight -= 1
        status = x.status
        if not status:
            return
        self.rows.get(x.method, self.other)[status] += 1
        traffic = self._traffic
        traffic.requests += 1
        if status >= 500:
            traffic.errors += 1
        self._durations.observe(x.now - x.started if status != SWITCHED else x.upstream_s)

    def totals(self) -> dict[tuple[str, ...], float]:
        """`balancer_http_requests_total` by method and status."""
        rows = [(method.decode(), row) for method, row in self.rows.items()] + [(OTHER, self.other)]
        return {(method, str(status)): float(n) for method, row in rows for status, n in enumerate(row) if n}
