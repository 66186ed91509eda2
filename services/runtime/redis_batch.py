"""The data path's connection to Redis: one write per loop tick, replies matched first in, first out, and never a wait
beyond 20 ms.

Own RESP instead of redis-py: no Task, Future or `await` per command, which cost more than the command itself
(data-path.md section 1). A caller hands over finished bytes and a sink; all commands of one loop tick leave in one
write. Whatever goes wrong (timeout, lost connection, error reply) the sink gets LOST and the caller decides locally;
`submit` returns False when the store is known to be away: then nothing is queued. Used by the gateway for the
limiter's script and for session look-ups.

Order: sinks are called in the order of submission; a command that met NOSCRIPT is sent again once, behind the others.
A late reply to a command that timed out is dropped (what it did in Redis stays done). Whatever shows that replies and
commands are out of step closes the connection, before somebody gets another one's: more than 64 KiB of one unfinished
reply, bytes that are no RESP, a push nobody asked for, arrays nested deeper than any of ours, another answer to PING
than PONG, a reply its sink cannot read, a reply to nothing, a late reply that never comes.

A server that answers MOVED or ASK is part of a cluster: from then on there is a connection, a queue and a breaker per
node, each command goes to the node of its slot, and one that was redirected goes once more. A node that was not known
takes commands once it has answered its first probes; until then its callers decide locally.

Long for one file, on purpose: queue, timeouts, breaker and the connection's life change the same few fields, and an
order between them that is wrong hands somebody another one's reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis

from services.runtime.log import get_log
from services.runtime.redis_breaker import RedisBreaker, probe_after_s
from services.runtime.redis_cluster import NODES_MAX, Address, Redirect, SlotMap, ranges_of, redirect_of
from services.runtime.resp import Target, command, target
from services.runtime.tasks import spawn

QUEUE_MAX: Final = 10_000
TICK_S: Final = 0.005  # how exactly a timeout is kept while commands wait
SILENCE_S: Final = 0.05  # then a PING, so that loss is seen without traffic
REPLY_MAX: Final = 65_536
NESTING_MAX: Final = 4  # the deepest we ask for is CLUSTER SLOTS
CONNECT_S: Final = 1.0
DEAD_S: Final = 2.0  # silent, or in debt, so long: the path may be gone without a word; a new connection tries another
RETRY_MIN_S: Final = 0.05
RETRY_MAX_S: Final = 0.5  # back in sync within a second: half for the retry, half for two probes
STORE_ERRORS: Final = ("READONLY", "NOAUTH")  # of this connection: a new one may lead to the new primary

log = get_log(__name__)


class Lost:
    """The type of LOST."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "LOST"


LOST: Final = Lost()  # instead of a reply: there is none to be had (None is Redis' own nil)
Sink = Callable[[Any, Any], None]  # ticket, reply or LOST


PING: Final = command("PING")
ASKING: Final = command("ASKING")
CLUSTER_SLOTS: Final = command("CLUSTER", "SLOTS")
REFRESH_S: Final = 1.0  # the slot map is read at most so often
PONGS: Final = frozenset({b"PONG", "PONG"})


class _Entry:
    """One command on its way; `again`: it may be sent once more, after NOSCRIPT or to another node."""

    __slots__ = ("again", "data", "sent", "sink", "ticket")

    def __init__(self, data: bytes, sink: Sink, ticket: Any, sent: float, *, again: bool) -> None:
        self.data = data
        self.sink = sink
        self.ticket = ticket
        self.sent = sent
        self.again = again


class _Connection(asyncio.Protocol):
    """One socket's life. Bytes in, replies out; what they mean is the batch's business."""

    def __init__(self, batch: RedisBatch) -> None:
        self._batch = batch
        self.transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(notEnoughData=LOST)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses

    def data_received(self, data: bytes) -> None:
        batch, reader = self._batch, self._reader
        batch.heard()
        try:
            reader.feed(data)
            while batch.connection is self and (reply := reader.gets()) is not LOST:
                batch.replied(reply)
            if reader.len() > REPLY_MAX:
                raise hiredis.ProtocolError("a reply above 64 KiB")  # noqa: TRY301  # closes like any other
        except hiredis.ProtocolError as error:
            batch.drop(self, str(error))

    def pause_writing(self) -> None:
        self._batch.paused = True

    def resume_writing(self) -> None:
        self._batch.paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._batch.drop(self, str(exc or "closed by Redis"))


class RedisBatch:
    """One connection. `scripts` are loaded whenever it is new; `on_state(open)` hears the breaker; `draw` gives
    numbers in [0, 1).
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_ms: int = 20,
        scripts: Sequence[bytes] = (),
        on_state: Callable[[bool], None] | None = None,
        draw: Callable[[], float] = random.random,
        _of: RedisBatch | None = None,
        _at: Target | None = None,
    ) -> None:
        self._first = _of or self  # of a cluster: the one that others call
        self._cluster: SlotMap[RedisBatch] | None = None
        self._refresh_due = 0.0
        self._url, self._scripts = url, scripts
        self._target = _at or target(url)
        self._timeout_s = timeout_ms / 1000
        self._load = tuple(command("SCRIPT", "LOAD", script) for script in scripts)
        self._on_state = on_state
        self._draw = draw
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._waiting: deque[_Entry] = deque()
        self._resent: list[_Entry] = []  # sent again, so not in the order of their times
        self._late: deque[float] = deque()  # when commands were given up whose replies are to come: always the oldest
        self._breaker = RedisBreaker()
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._next_probe = 0.0
        self._retries = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._flushing = False
        self._fast = False  # the timer is the short one
        self._loading = False  # the scripts are on their way
        self._ready = asyncio.Event()
        self.connection: _Connection | None = None
        self.paused = False
        self.timeouts = 0
        self.failures = 0

    @property
    def open(self) -> bool:
        """The breaker: True while Redis counts as away; of a cluster, while all its nodes do."""
        if self._cluster is not None:
            return self._breaker.open and all(node._breaker.open for node in self._cluster.nodes.values())  # one of us
        return self._breaker.open

    @property
    def degraded(self) -> bool:
        """Some decisions are local."""
        if self._cluster is not None:
            return any(node._breaker.open for node in self._cluster.nodes.values())  # one of us
        return self._breaker.open

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def start(self, within_s: float = CONNECT_S) -> bool:
        """Connects and probes; True if Redis is there. It goes on trying by itself if not."""
        self._begin()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._ready.wait()
        return not self.open

    def _begin(self) -> None:
        self._reconnect(0.0)
        self._arm(SILENCE_S)

    def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self.connection is not None:
            self.drop(self.connection, "closed by us")
        for node in self._cluster.nodes.values() if self._cluster is not None else ():
            node.close()

    def submit(self, data: bytes, sink: Sink, ticket: Any) -> bool:
        """Sends `data` with this tick's others; `sink(ticket, reply)` follows, never within this call. False: decide
        now, nothing is queued.
        """
        if self._cluster is not None:
            node = self._cluster.node(data)
            if node is not None:
                return node.submit(data, sink, ticket)
        if self._breaker.open or self.paused or len(self._waiting) + len(self._late) >= QUEUE_MAX:
            return False
        self._queue(_Entry(data, sink, ticket, self._loop.time(), again=True))
        return True

    def distrust(self) -> None:
        """A sink cannot read its reply. It may be another command's, and so would those behind it be."""
        self._fail()
        if self.connection is not None:
            self.drop(self.connection, "a reply of another shape")
        for node in self._cluster.nodes.values() if self._cluster is not None else ():
            node.distrust()  # whose reply it was is not known any more

    # --- out

    def _queue(self, entry: _Entry) -> None:
        self._out.append(entry.data)
        self._waiting.append(entry)
        if not self._fast:
            self._arm(TICK_S)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        out, self._out = self._out, []
        if out and self.connection is not None and self.connection.transport is not None:
            self.connection.transport.write(b"".join(out))

    # --- in

    def heard(self) -> None:
        """Something came: Redis is there."""
        self._heard = self._loop.time()

    def replied(self, reply: Any) -> None:
        """The next reply, in order."""
        kind = type(reply)
        if kind is list:
            if reply and type(reply[0]) is list and _depth(reply) > NESTING_MAX:
                raise hiredis.ProtocolError("a reply nested too deep")
        elif kind is hiredis.PushNotification:
            raise hiredis.ProtocolError("a push nobody asked for")
        if self._late:
            self._late.popleft()
            return
        if not self._waiting:
            raise hiredis.ProtocolError("a reply to nothing")
        entry = self._waiting.popleft()
        if isinstance(reply, hiredis.ReplyError):
            self._refused(entry, str(reply))
        else:
            _deliver(entry, reply)

    def _refused(self, entry: _Entry, error: str) -> None:
        if error.startswith("NOSCRIPT") and entry.again and self._load:
            if not self._loading:
                self._send_scripts()
            self._resend(entry)
            return
        redirect = redirect_of(error)
        if redirect is not None:
            self._first.follow(self, entry, redirect)
            return
        log.warning("redis refused a command", error=error[:200])
        _deliver(entry, LOST)
        self._fail()
        if error.startswith(STORE_ERRORS) and self.connection is not None:
            self.drop(self.connection, error)

    def follow(self, said_by: RedisBatch, entry: _Entry, redirect: Redirect) -> None:
        """A redirect is no failure. Once more to the right node, if that is there."""
        if self._cluster is None:
            log.warning("redis is a cluster", target=self._target.host or self._target.path)
            self._cluster = SlotMap()
        host, port = redirect.address
        node = self._node((host or said_by._target.host, port))  # one of us
        if node is None:
            _deliver(entry, LOST)
            return
        if not redirect.asking:
            self._cluster.give(redirect.slot, redirect.slot, node)
        now = self._loop.time()
        if now >= self._refresh_due:
            self._refresh_due = now + REFRESH_S
            said_by._queue(_Entry(CLUSTER_SLOTS, self._learn, said_by, now, again=False))  # one of us
        node.forward(entry, asking=redirect.asking)

    def forward(self, entry: _Entry, *, asking: bool) -> None:
        """A command that another node has redirected here."""
        if not entry.again or self._breaker.open or self.paused:
            _deliver(entry, LOST)
            return
        if asking:
            self._queue(_Entry(ASKING, _ignore, None, entry.sent, again=False))
        self._resend(entry)

    def _node(self, address: Address) -> RedisBatch | None:
        """The connection to it, a new one if need be; None: there are too many, or it is nowhere."""
        assert self._cluster is not None  # noqa: S101  # callers have made it
        node = self._cluster.nodes.get(address)
        if node is None and address[0] and len(self._cluster.nodes) < NODES_MAX:
            at = Target("", *address, self._target.greeting)
            node = self._cluster.nodes[address] = RedisBatch(
                self._url,
                timeout_ms=round(self._timeout_s * 1000),
                scripts=self._scripts,
                on_state=self._node_moved,
                draw=self._draw,
                _of=self,
                _at=at,
            )
            node._begin()  # one of us
        return node

    def _node_moved(self, _away: bool) -> None:
        if self._on_state is not None:
            self._on_state(self.degraded)

    def _learn(self, said_by: RedisBatch, reply: Any) -> None:
        ranges = None if reply is LOST else ranges_of(reply, said_by._target.host)  # one of us
        if not ranges or self._cluster is None or self._closed:
            return
        for first, last, address in ranges:
            node = self._node(address)
            if node is not None:
                self._cluster.give(first, last, node)
        for node in self._cluster.unused():
            node.close()

    def _resend(self, entry: _Entry) -> None:
        """Behind the others, and still due when it was: it may be given up before those ahead of it."""
        once_more = _Entry(entry.data, entry.sink, entry.ticket, entry.sent, again=False)
        self._resent.append(once_more)
        self._queue(once_more)

    def _send_scripts(self) -> None:
        self._loading = True
        for load in self._load:
            self._queue(_Entry(load, self._loaded, None, self._loop.time(), again=False))

    def _loaded(self, _ticket: Any, _reply: Any) -> None:
        self._loading = False

    # --- time

    def _arm(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fast = delay_s == TICK_S
        if not self._closed:
            self._timer = self._loop.call_later(delay_s, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        self._expire(now)
        if self.connection is not None and self._dead(now):
            self.drop(self.connection, "silent")
        if (
            self.connection is not None
            and now >= self._next_probe
            and (self._breaker.open or now - self._heard >= SILENCE_S)
        ):
            self._next_probe = now + (probe_after_s(self._draw()) if self._breaker.open else SILENCE_S)
            if len(self._late) + len(self._waiting) < QUEUE_MAX:
                self._queue(_Entry(PING, self._ponged, None, now, again=False))
        self._arm(TICK_S if self._waiting else SILENCE_S)

    def _dead(self, now: float) -> bool:
        """Nothing comes, or what comes are not the replies that were due first."""
        return (self._breaker.open and now - self._heard > DEAD_S) or bool(self._late and now - self._late[0] > DEAD_S)

    def _expire(self, now: float) -> None:
        """Commands older than the timeout are decided by their callers; their replies will be dropped."""
        waiting, oldest = self._waiting, now - self._timeout_s
        while waiting and waiting[0].sent <= oldest:
            entry = waiting.popleft()
            self._late.append(now)
            self._first.timeouts += 1
            _deliver(entry, LOST)
            self._fail()
        if self._resent:
            self._expire_resent(oldest)

    def _expire_resent(self, oldest: float) -> None:
        """These keep their places in the queue, so that the others get their own replies."""
        kept, self._resent = self._resent, []
        for entry in kept:
            if entry.sink is _ignore:  # answered, or given up with the others
                continue
            if entry.sent > oldest:
                self._resent.append(entry)
                continue
            self._first.timeouts += 1
            _deliver(entry, LOST)
            self._fail()

    def _ponged(self, _ticket: Any, reply: Any) -> None:
        if reply is LOST:
            return
        if type(reply) not in {bytes, str} or reply not in PONGS:
            if self.connection is not None:
                self.drop(self.connection, "another answer to PING than PONG")
        elif self._breaker.probed(self._loop.time()):
            self._retries = 0
            self._ready.set()
            self._tell(open_=False)

    # --- state

    def _fail(self) -> None:
        self._first.failures += 1
        if self._breaker.failed(self._loop.time()):
            self._opened()

    def _opened(self) -> None:
        """Nobody waits any longer; what is on the way stays on the way."""
        self._tell(open_=True)
        given_up = list(self._waiting)
        self._waiting.clear()
        self._late.extend([self._loop.time()] * len(given_up))
        for entry in given_up:
            _deliver(entry, LOST)

    def _tell(self, *, open_: bool) -> None:
        log.warning("redis is away" if open_ else "redis is back", target=self._target.path or self._target.host)
        if self._on_state is not None:
            self._on_state(open_)

    def drop(self, connection: _Connection, why: str) -> None:
        """The connection ends, whoever ended it: all that wait are told, a new one is tried."""
        if self.connection is not connection:
            return
        self.connection, self.paused = None, False
        if connection.transport is not None:
            connection.transport.abort()
        log.info("redis connection lost", why=why)
        opened = self._breaker.lost()
        given_up = list(self._waiting)
        self._waiting.clear()
        self._out.clear()
        self._late.clear()
        if opened and not self._closed:
            self._tell(open_=True)
        for entry in given_up:
            _deliver(entry, LOST)
        if not self._closed:
            self._reconnect(self._pause())

    def _pause(self) -> float:
        cap = min(RETRY_MAX_S, RETRY_MIN_S * (1 << self._retries))
        self._retries = min(self._retries + 1, 16)
        return cap * self._draw()

    def _reconnect(self, delay_s: float) -> None:
        if self._task is None or self._task.done():
            self._task = spawn(self._connect(delay_s), name="redis-connect")

    async def _connect(self, delay_s: float) -> None:
        while not self._closed:
            await asyncio.sleep(delay_s)
            try:
                async with asyncio.timeout(CONNECT_S):
                    _, connection = await self._dial()
            except (OSError, TimeoutError) as error:
                log.debug("redis cannot be reached", error=str(error))
                delay_s = self._pause()
                continue
            if connection.transport is not None and not connection.transport.is_closing():
                self._greet(connection)
                return
            delay_s = self._pause()

    async def _dial(self) -> tuple[asyncio.BaseTransport, _Connection]:
        to = self._target
        if to.path:
            return await self._loop.create_unix_connection(lambda: _Connection(self), to.path)
        return await self._loop.create_connection(lambda: _Connection(self), to.host, to.port)

    def _greet(self, connection: _Connection) -> None:
        self.connection = connection
        self._heard = self._next_probe = now = self._loop.time()
        for data in self._target.greeting:
            self._queue(_Entry(data, _ignore, None, now, again=False))
        self._send_scripts()
        self._tick()


def _deliver(entry: _Entry, reply: Any) -> None:
    """Once. A sink's fault is its own: the replies behind it belong to others."""
    sink, entry.sink = entry.sink, _ignore
    try:
        sink(entry.ticket, reply)
    except Exception:
        log.exception("the sink of a redis reply failed")


def _depth(reply: Any) -> int:
    """How deep arrays are nested, looked at no further than it matters."""
    depth, level = 0, [reply]
    while level and depth <= NESTING_MAX:
        depth += 1
        level = [item for part in level for item in part if type(item) is list]
    return depth


def _ignore(_ticket: Any, _reply: Any) -> None:
    """The sink of a command whose answer nobody needs."""
