"""The connections to one endpoint: idle ones used newest first, new ones as they are needed, a bounded queue for the
rest.

`start` is the hot path: an idle connection takes the exchange at once. Otherwise it waits for whatever comes first, a
connection that is given back or a new one. Newest first keeps hot connections hot and lets cold ones expire. After a
failed connect the endpoint is left alone for a while: max(100 ms, draw · min(100 ms · 2^n, 1 s)); `backoff_until` tells
who picks endpoints.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from random import random
from time import monotonic
from typing import Final

from services.http1 import runner
from services.http1.exchange import FORWARDED, Exchange
from services.http1.heads import ANSWER_NAMES, Names
from services.http1.limits import Deadlines, Limits
from services.http1.states import FREE
from services.http1.upstream import RESET, Failure, UpstreamConnection
from services.runtime.tasks import spawn

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 1.0
SWEEP_S: Final = 1.0
CONNECT_FAILED: Final = Failure("connect_failed")
CONNECT_TIMEOUT: Final = Failure("connect_timeout")
QUEUE_FULL: Final = Failure("queue_full")


class Waiter:
    """The carrier of an exchange that has no connection yet."""

    __slots__ = ("head", "pool", "x")

    def __init__(self, pool: Pool, x: Exchange, head: bytes) -> None:
        self.pool = pool
        self.x: Exchange | None = x
        self.head = head

    def more(self, x: Exchange) -> None:
        """The body waits with it; `stop_body` bounds it."""
        if x.bytes_in > self.pool.limits.pending_body_max:
            x.connection.stop_body()

    def drop(self, x: Exchange) -> None:
        if self.x is x:
            self.x = None
            x.upstream = None
            self.pool.active -= 1
            with contextlib.suppress(ValueError):
                self.pool.waiters.remove(self)

    def pause_reading(self) -> None:
        """There is nothing to read."""

    def resume_reading(self) -> None:
        """There is nothing to read."""


class Gatherer:
    """The carrier of a request whose body is still coming while many others' are: it takes no connection before the
    body is whole, or too long to wait for. Otherwise clients that send slowly hold every connection there may be.
    """

    __slots__ = ("head", "pool", "x")

    def __init__(self, pool: Pool, x: Exchange, head: bytes) -> None:
        self.pool = pool
        self.x: Exchange | None = x
        self.head = head

    def more(self, x: Exchange) -> None:
        if x.body_done or x.bytes_in >= self.pool.limits.pending_body_max:
            x.now = monotonic()
            self.drop(x)
            self.pool.start(x, self.head)

    def drop(self, x: Exchange) -> None:
        if self.x is x:
            self.x = None
            x.upstream = None
            self.pool.active -= 1

    def pause_reading(self) -> None:
        """There is nothing to read."""

    def resume_reading(self) -> None:
        """There is nothing to read."""


class Pool:
    """`active`: exchanges under way or waiting here. `on_connect` hears each connect's outcome. A `NextHop`."""

    __slots__ = (
        "_busy",
        "_failed_in_a_row",
        "_idle",
        "_sweeping",
        "active",
        "backoff_until",
        "connecting",
        "deadlines",
        "host",
        "limits",
        "names",
        "on_connect",
        "paused",
        "port",
        "retired",
        "uploading",
        "waiters",
    )

    def __init__(
        self,
        host: str,
        port: int,
        limits: Limits,
        deadlines: Deadlines,
        *,
        names: Names = ANSWER_NAMES,
        on_connect: Callable[[bool], None] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.limits = limits
        self.deadlines = deadlines
        self.names = names
        self.on_connect = on_connect
        self.active = 0
        self.connecting = 0
        self.paused = 0  # connections whose client does not read: they do nothing, and count for nothing
        self.uploading = 0  # connections whose request is not all written
        self.backoff_until = 0.0  # loop time
        self.retired = False
        self.waiters: deque[Waiter] = deque()
        self._idle: list[UpstreamConnection] = []
        self._busy: set[UpstreamConnection] = set()  # every open connection, the idle ones too
        self._failed_in_a_row = 0
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def idle_count(self) -> int:
        return len(self._idle)

    @property
    def open_count(self) -> int:
        return len(self._busy)

    def start(self, x: Exchange, head: bytes) -> None:
        x.state = FORWARDED
        self.active += 1
        if not x.body_done and self._is_slow_going() and self._gather(x, head):
            return
        if self._idle:
            self._idle.pop().begin(x, head)
        else:
            self._wait(x, head)

    def abort(self, x: Exchange) -> None:
        if x.upstream is not None:
            x.upstream.drop(x)

    def retire(self) -> None:
        """Take nothing more from idle; busy connections close after their answer. What waits still gets its
        connection.
        """
        self.retired = True
        for connection in list(self._idle):
            connection.close()

    def close(self) -> None:
        """Retire, and give up what is under way."""
        self.retire()
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._fail_waiters(RESET)
        for connection in list(self._busy):
            connection.abandon()

    # -- the connections' calls

    def release(self, connection: UpstreamConnection) -> None:
        """A connection is free: the oldest waiter's, or idle."""
        if self.waiters:
            waiter = self.waiters.popleft()
            x = waiter.x
            if x is not None:
                x.now = monotonic()
                connection.begin(x, waiter.head)
                return
        if self.retired:
            connection.close()
            return
        self._idle.append(connection)
        if self._sweeping is None:
            self._sweep_later()

    def forget(self, connection: UpstreamConnection) -> None:
        """It will not be used again."""
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self.waiters:
            self._connect_more()

    def held_up(self, count: int) -> None:
        """A client has stopped reading (1) or reads again (-1). As many slow readers as connections must not keep all
        others from the endpoint; they are bounded as clients.
        """
        self.paused += count
        if self.waiters:
            self._connect_more()

    # -- inside

    def _is_slow_going(self) -> bool:
        """A quarter of the connections may wait for their clients, not more."""
        return self.uploading + len(self.waiters) >= self.limits.upstream_max // 4

    def _gather(self, x: Exchange, head: bytes) -> bool:
        """False: enough of the body is here."""
        if x.bytes_in >= self.limits.pending_body_max:
            return False
        x.upstream = Gatherer(self, x, head)
        if b"expect" in x.special:
            x.connection.please_continue(x)
        return True

    def _wait(self, x: Exchange, head: bytes) -> None:
        waiter = Waiter(self, x, head)
        x.upstream = waiter
        if len(self.waiters) >= self.limits.waiters_max:
            self._fail_soon(waiter, QUEUE_FULL)
        elif monotonic() < self.backoff_until and not self._busy and not self.connecting:
            self._fail_soon(waiter, CONNECT_FAILED)
        else:
            self.waiters.append(waiter)
            self._connect_more()

    def _fail_soon(self, waiter: Waiter, failure: Failure) -> None:
        """`start` never fails before it has returned: the stage that called it has not parked yet."""
        asyncio.get_running_loop().call_soon(_fail, waiter, failure)

    def _connect_more(self) -> None:
        if monotonic() < self.backoff_until:
            if not self._busy and not self.connecting:
                self._fail_waiters(CONNECT_FAILED)
            return
        limits = self.limits
        room = limits.upstream_max + self.paused - len(self._busy) - self.connecting
        wanted = min(len(self.waiters) - self.connecting, limits.connecting_max - self.connecting, room)
        for _ in range(wanted):
            self.connecting += 1
            spawn(self._connect(), name=f"connect {self.host}:{self.port}")

    async def _connect(self) -> None:
        failure = CONNECT_FAILED
        connection = UpstreamConnection(self)
        try:
            async with _alive_for(self.deadlines.connect_s):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: connection, self.host, self.port)  # type: ignore[type-var]
        except TimeoutError:
            failure = CONNECT_TIMEOUT
        except OSError:
            pass
        else:
            self.connecting -= 1
            self._connected(connection)
            return
        self.connecting -= 1
        self._connect_failed(failure)

    def _connected(self, connection: UpstreamConnection) -> None:
        self._failed_in_a_row = 0
        self.backoff_until = 0.0
        if self.on_connect is not None:
            self.on_connect(True)  # noqa: FBT003
        if connection.transport.is_closing():
            return
        now = monotonic()
        connection.state = FREE
        connection.since = now
        # spread, no secret
        connection.expires = now + self.deadlines.upstream_age_s * (0.9 + 0.2 * random())  # noqa: S311
        self._busy.add(connection)
        self.release(connection)
        if self.waiters:  # more came at once than may connect at once: a connect that ended makes room for the next
            self._connect_more()

    def _connect_failed(self, failure: Failure) -> None:
        wait_s = min(BACKOFF_FIRST_S * 2.0**self._failed_in_a_row, BACKOFF_MAX_S)
        self._failed_in_a_row = min(self._failed_in_a_row + 1, 10)
        self.backoff_until = monotonic() + max(BACKOFF_FIRST_S, random() * wait_s)  # noqa: S311
        if self.on_connect is not None:
            self.on_connect(False)  # noqa: FBT003
        if not self._busy:
            self._fail_waiters(failure)

    def _fail_waiters(self, failure: Failure) -> None:
        waiters, self.waiters = self.waiters, deque()
        for waiter in waiters:
            _fail(waiter, failure)

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle or open for too long, once a second while there is something idle."""
        self._sweeping = None
        now = monotonic()
        oldest = now - self.deadlines.upstream_idle_s
        for connection in list(self._idle):
            if connection.since < oldest or connection.expires < now:
                connection.close()
        if self._idle:
            self._sweep_later()


@contextlib.asynccontextmanager
async def _alive_for(seconds: float) -> AsyncIterator[None]:
    """A timeout whose second half begins when its first one was seen to end. A loop looks at its timers before its
    sockets: after a stall of ours a plain one calls connections that stand timed out, and the endpoint unreachable.
    """
    loop, half_s = asyncio.get_running_loop(), seconds / 2
    async with asyncio.timeout(None) as limit:
        half_time = loop.call_later(half_s, lambda: limit.reschedule(loop.time() + half_s))
        try:
            yield
        finally:
            half_time.cancel()


def _fail(waiter: Waiter, failure: Failure) -> None:
    x = waiter.x
    if x is not None:
        waiter.drop(x)
        runner.fail(x, failure)
