"""Counts what comes in and how it ends. Sits before everything that refuses or answers, so that this is counted too.

`on_finish` runs exactly once per exchange, however it ends; the in-flight number, the series and the access log are
settled there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

from services.gateway.access_log import AccessLog
from services.gateway.routing import OTHER, RouteTable
from services.http1.exchange import Exchange
from services.runtime.metrics import Cell, Counter
from services.runtime.vitals import Traffic

GONE = 499  # the client left before its answer: nginx's number for it
SWITCHED = 101  # a tunnel took as long as its peers wished: what counts is the handshake


class Measure:
    def __init__(
        self,
        table: RouteTable,
        traffic: Traffic,
        refusals: Counter,
        log: AccessLog,
        stage_of: Callable[[Exchange], str],
    ) -> None:
        self.in_flight = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self._table, self._traffic, self._log = table, traffic, log
        self._refusals, self._stage_of = refusals, stage_of
        self._cells: dict[tuple[str, str], Cell] = {}

    def __call__(self, _x: Exchange) -> None:
        self.in_flight += 1

    def on_finish(self, x: Exchange) -> None:
        record = x.route
        meter = record.meter if record is not None else self._table.meter(x.method, OTHER)
        status = x.status or GONE
        seconds = x.now - x.started if x.started else 0.0
        if status == SWITCHED:
            seconds = x.upstream_s
        meter.count(status, seconds)
        if record is None or not (record.health or record.ops):
            self._settle(x, status, seconds)
        self.in_flight -= 1
        self.bytes_in += x.bytes_in
        self.bytes_out += x.bytes_out

    def _settle(self, x: Exchange, status: int, seconds: float) -> None:
        """Health and metrics are neither traffic nor logged."""
        traffic = self._traffic
        traffic.requests += 1
        traffic.errors += status >= 500
        traffic.durations.observe(seconds)
        if x.reason and x.status and x.head is None:
            self._refused(self._stage_of(x), x.reason)
        self._log.note(x, status, seconds)

    def _refused(self, stage: str, reason: str) -> None:
        cell = self._cells.get((stage, reason))
        if cell is None:
            cell = self._cells[(stage, reason)] = self._refusals.cell(stage, reason)
        cell.n += 1
