"""The listening socket and the connections behind it: start, drain, close (data-path 2, "Listener").

Made by the apps; one per process. `drain(True)`: every answer carries `Connection: close`. `close`: no new connections,
idle ones end, what is under way may finish within the time, the rest is aborted.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from math import ceil
from typing import Any, Final

from services.core.identity import network_identifier
from services.core.verdicts import Refusal
from services.http1 import states
from services.http1.certificate import Certificate
from services.http1.door import Door, Trusts
from services.http1.exchange import Exchange
from services.http1.heads import CLOSE_AND_END, GATEWAY_NAMES, STATUS_LINES, Names
from services.http1.limits import Deadlines, Limits
from services.http1.problems import ProblemWriter
from services.http1.runner import Pipeline
from services.http1.server import ServerConnection
from services.http1.sweeper import SWEEP_S, Sweeper, oldest_idle
from services.runtime.settings import is_loopback

BACKLOG: Final = 4096
CROWDED: Final = 0.9  # of `max_connections`
TURNED_AWAY_MAX: Final = 64  # at a time; they are within the descriptors kept free (limits.py)
FULL: Final = Refusal("temporary-reduced-capacity", "connections", retry_after_s=1, facts={"reason": "connections"})
STATE_NAMES: Final = {
    states.IDLE: "idle",
    states.HEAD: "head",
    states.ACTIVE: "active",
    states.ANSWERED: "answered",
    states.CLOSING: "closing",
    states.TUNNEL: "tunnel",
}


class HttpServer:
    """`name` is what this process writes into Via (`gateway-1`): three times in a request means a loop.

    `names`: the request names with a meaning here (heads.py). `strict_targets`: refuse a target that `target.normalise`
    would change (the balancer; the gateway normalises). `certificate`: the listener speaks TLS. `trusts`: peers that speak for
    others; None: all do. `proxy_protocol`: their connections begin with its header. Plain attributes for metrics: `bad_requests` by reason,
    `client_aborts`, `refused_connections`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        limits: Limits,
        deadlines: Deadlines,
        problems: ProblemWriter,
        name: bytes,
        *,
        names: Names = GATEWAY_NAMES,
        strict_targets: bool = False,
        certificate: Certificate | None = None,
        trusts: Trusts | None = None,
        proxy_protocol: bool = False,
    ) -> None:
        self.pipeline = pipeline
        self.limits = limits
        self.deadlines = deadlines
        self.problems = problems
        self.name = name
        self.names = names
        self.strict_targets = strict_targets
        self.bad_requests: dict[str, int] = {}
        self.client_aborts = 0
        self.refused_connections = 0
        self.draining = False
        self.tunnels = 0
        self.crowded = False
        self.crowded_at = ceil(CROWDED * limits.max_connections)
        self.trusts = trusts
        self._by_source: Counter[str] = Counter()
        self._full = full_answer(problems)
        # what connections read once per request
        self.body_max = limits.body_max
        self.lines_max = limits.fields_max + 2  # the request line and the empty one
        # no head this short can be over a limit of bytes
        self.short_max = min(limits.request_line_max, limits.head_max)
        self.total_s = deadlines.total_s
        self.hosts: set[bytes] = set()  # authorities found well-formed
        self.targets: set[bytes] = set()  # paths found plain
        self.date_line = b""
        self.sweeper = Sweeper()
        self._listening: asyncio.Server | Door | None = None
        self._door = None
        if certificate is not None or proxy_protocol:
            self._door = Door(self, certificate, trusts if proxy_protocol else None)
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Bind and serve; the port, which the kernel chose if it was 0. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._tick()
        if self._door is not None:
            self._listening = self._door
            return self._door.open(host, port, BACKLOG, reuse_port=reuse_port)
        self._listening = await loop.create_server(
            lambda: ServerConnection(self),  # type: ignore[arg-type,return-value]  # duck-typed
            host,
            port,
            backlog=BACKLOG,
            reuse_port=reuse_port,
            start_serving=True,
        )
        bound: int = self._listening.sockets[0].getsockname()[1]
        return bound

    @property
    def connections(self) -> int:
        return len(self.sweeper.all)

    @property
    def in_flight(self) -> int:
        """Requests that are not answered yet. Counted when asked: the path keeps no counter."""
        return sum((c.current is not None) + len(c.queue or ()) for c in self.sweeper.live)

    def connection_states(self) -> dict[str, int]:
        found = Counter(c.state for c in self.sweeper.all)
        return {name: found.get(state, 0) for state, name in STATE_NAMES.items()}

    def drain(self, on: bool) -> None:
        self.draining = on
        for c in self.sweeper.all:
            c.aged = on

    async def close(self, within_s: float) -> None:
        """Accept what waits, stop listening, finish, abort the rest."""
        loop = asyncio.get_running_loop()
        self.drain(on=True)
        await asyncio.sleep(0)  # one round of the loop takes in what the kernel has accepted
        if self._listening is not None:
            self._listening.close()
        ends = loop.time() + within_s
        tunnels_end = ends - self.deadlines.linger_s
        while (self.sweeper.all or (self._door and self._door.entering)) and (now := loop.time()) < ends:
            self._close_idle()
            if now >= tunnels_end:
                self._end_tunnels(now)
            await asyncio.sleep(SWEEP_S)
        if self._door is not None:
            await self._door.stop()
        for c in list(self.sweeper.all):
            c.abort()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.sleep(0)

    # -- the connections' calls

    def opened(self, c: ServerConnection) -> None:
        if len(self.sweeper.all) >= self.limits.max_connections or not self._has_room(c):
            self._turn_away(c)
            return
        self.sweeper.all.add(c)
        c.aged = self.draining

    def closed(self, c: ServerConnection) -> None:
        self.sweeper.all.discard(c)
        if c.source:
            self._by_source[c.source] -= 1
            if not self._by_source[c.source]:
                del self._by_source[c.source]
            c.source = ""

    def watch(self, c: ServerConnection) -> None:
        self.sweeper.watch(c)

    def count_bad(self, reason: str) -> None:
        self.bad_requests[reason] = self.bad_requests.get(reason, 0) + 1

    # -- inside

    def _has_room(self, c: ServerConnection) -> bool:
        """One peer has not taken more than its share. Who speaks for others has none, and this machine is no stranger."""
        if self.trusts is None or not c.peer:
            return True
        address = str(c.peer[0])
        if self.trusts(address) or is_loopback(address):
            return True
        source = network_identifier(address)
        if self._by_source[source] >= self.limits.max_connections_per_ip:
            return False
        c.source = source
        self._by_source[source] += 1
        return True

    def _turn_away(self, c: ServerConnection) -> None:
        """No room: told so, and closed, without a look at what it wants. While many are being told, not even that."""
        self.refused_connections += 1
        if len(self.sweeper.all) >= self.limits.max_connections + TURNED_AWAY_MAX:
            c.abort()
            return
        self.sweeper.all.add(c)
        before, after = self._full
        c.transport.write(b"%b%b%b" % (before, self.date_line, after))
        c.half_close()

    def _make_room(self) -> None:
        """From CROWDED on idle connections have little time, and above it the oldest of them go at once."""
        excess = len(self.sweeper.all) - self.crowded_at
        self.crowded = excess >= 0
        if excess > 0:
            for c in oldest_idle(self.sweeper.all, excess):
                c.close()

    def _close_idle(self) -> None:
        for c in list(self.sweeper.all):
            if c.state == states.IDLE and c.current is None:
                c.close()
            elif c.state == states.ANSWERED:
                c.half_close()

    def _end_tunnels(self, now: float) -> None:
        """They end with the drain, not with its beginning: their peers hear it and have a moment left to go."""
        for c in list(self.sweeper.all):
            if c.state == states.TUNNEL and c.current is not None:
                c.current.upstream.end(now)  # type: ignore[union-attr]  # a Tunnel's

    def _tick(self) -> None:
        self._make_room()
        self.sweeper.tick(time.monotonic(), time.time())
        self.date_line = self.sweeper.date_line
        self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._tick)


def full_answer(problems: ProblemWriter) -> tuple[bytes, bytes]:
    """What a connection gets that finds no room: before the Date line and after it. Made once; nobody's request is read."""
    nobody: Any = None
    status, lines, body = problems.render(Exchange(nobody, nobody, b"", 0), FULL)
    after = (*lines, b"Content-Length: %d\r\n" % len(body), CLOSE_AND_END, body)
    return STATUS_LINES[status], b"".join(after)
