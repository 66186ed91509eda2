"""Deadlines without timers: a deadline is an attribute, and one sweep looks at all of them every 50 ms (data-path 2).

`HttpServer` runs one sweeper. Connections with something under way are looked at in each sweep, idle ones in slices,
each once a second. Rate and stall deadlines move with the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate
from heapq import nsmallest
from typing import Final

from services.core.verdicts import Refusal
from services.http1 import faults, runner
from services.http1.exchange import ANSWERING, FORWARDED, Exchange
from services.http1.server import ServerConnection
from services.http1.states import ANSWERED, CLOSED, CLOSING, IDLE, TUNNEL
from services.http1.upstream import Failure

SWEEP_S: Final = 0.05
IDLE_SLICES: Final = 20  # an idle connection is looked at once in so many sweeps


def sweep(c: ServerConnection, now: float) -> bool:
    """One connection with something under way; False: it is idle, a tunnel or closed now."""
    if c.state in {CLOSED, TUNNEL}:
        return False
    if c.state == CLOSING:
        if _stuck(c, now):
            c.reset()
        elif not c.stall_bytes and now - c.since >= c.server.deadlines.linger_s:
            c.abort()
        return True
    if now >= c.expires:
        c.aged = True
    x = c.current
    if x is not None:
        if not (_expired(x, now) or _stalled(c, x, now)):
            _sweep_reading(c, now)
        return True
    if c.state == IDLE:
        if _stuck(c, now):
            c.reset()
        elif not c.stall_bytes:
            c.since = now
        return c.stall_bytes > 0
    _sweep_reading(c, now)
    return True


def sweep_idle(c: ServerConnection, now: float) -> None:
    """Idle too long, or too old: closed without a word; what was written is taken in time, or aborted. Tunnels are looked
    at as rarely.
    """
    if c.state == TUNNEL and c.current is not None:
        c.current.upstream.look(now)  # type: ignore[union-attr]  # a Tunnel's
    elif c.state == CLOSED and _stuck(c, now):
        c.reset()
    elif is_idle(c):
        idle_s = c.server.deadlines.crowded_idle_s if c.server.crowded else c.idle_s
        if now - c.since >= idle_s or now >= c.expires:
            c.close()


def is_idle(c: ServerConnection) -> bool:
    return c.state == IDLE and c.current is None


def oldest_idle(connections: Iterable[ServerConnection], count: int) -> list[ServerConnection]:
    """Those that have been idle for longest: they go when there are too many."""
    return nsmallest(count, filter(is_idle, connections), key=lambda c: c.since)


def _expired(x: Exchange, now: float) -> bool:
    """The request's own deadline, or one try's."""
    if x.deadline and now >= x.deadline:
        if x.state == ANSWERING:
            x.reason = "deadline"
            x.connection.cut(x)
        elif x.state == FORWARDED:
            give_up(x, "deadline")
        else:
            runner.refuse(x, faults.DEADLINE)
        return True
    if x.try_deadline and now >= x.try_deadline and x.state == FORWARDED:
        give_up(x, "try_timeout")
        return True
    return False


def give_up(x: Exchange, kind: str) -> None:
    """Take x from its next hop, which has not answered."""
    x.connection.drop_upstream(x)
    runner.fail(x, Failure(kind, sent=x.handed != 0.0))


def _stalled(c: ServerConnection, x: Exchange, now: float) -> bool:
    """The client takes nothing of its answer."""
    if not c.write_paused or not _stuck(c, now):
        return False
    x.reason = "answer-stalled"
    c.cut(x)
    return True


def _stuck(c: ServerConnection, now: float) -> bool:
    """Bytes are left to write, and none has gone for `answer_stall_s`. As long as some go, it is no idle connection and
    none that lingers.
    """
    unwritten = c.transport.get_write_buffer_size()
    if unwritten != c.stall_bytes:
        c.stall_bytes = unwritten
        c.since = now
        return False
    return unwritten > 0 and now - c.since >= c.server.deadlines.answer_stall_s


def _sweep_reading(c: ServerConnection, now: float) -> None:
    """A head that is not whole in time, a body that comes too slowly."""
    deadlines = c.server.deadlines
    x = c.reading
    if x is None:
        if c.head_since and now - c.head_since >= deadlines.head_s:
            _slow(c, faults.HEAD_SLOW)
    elif c.paused:
        c.mark_at = now
    elif now - c.mark_at >= deadlines.body_grace_s:
        if x.bytes_in - c.mark_bytes < deadlines.body_rate_min * deadlines.body_grace_s:
            _slow(c, faults.BODY_SLOW)
        c.mark_at = now
        c.mark_bytes = x.bytes_in


def _slow(c: ServerConnection, refusal: Refusal) -> None:
    if c.state == ANSWERED:
        c.half_close()
        return
    c.refuse(refusal)
    c.start_current()


class Sweeper:
    """The looks at all connections of one server; also the keeper of the Date line."""

    def __init__(self) -> None:
        self.live: list[ServerConnection] = []
        self.all: set[ServerConnection] = set()
        self.date_line = b""
        self._round: list[ServerConnection] = []
        self._slice = 1
        self._second = 0

    def watch(self, c: ServerConnection) -> None:
        c.watched = True
        self.live.append(c)

    def tick(self, now: float, wall: float) -> None:
        """Every SWEEP_S: `now` is loop time, `wall` seconds since the epoch."""
        self.render_date(int(wall))
        live, self.live = self.live, []
        for c in live:
            c.watched = False
        for c in live:
            if sweep(c, now) and not c.watched:
                self.watch(c)
        if not self._round:
            self._round = list(self.all)
            self._slice = len(self._round) // IDLE_SLICES + 1
        for c in self._round[-self._slice :]:
            if not c.watched:
                sweep_idle(c, now)
        del self._round[-self._slice :]

    def render_date(self, second: int) -> None:
        if second != self._second:
            self._second = second
            self.date_line = b"Date: %b\r\n" % formatdate(second, usegmt=True).encode()
