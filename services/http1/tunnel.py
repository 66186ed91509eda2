"""Upgraded connections: what a WebSocket handshake must look like, and the relay once a 101 has agreed to it (data-path
2, "Upgrade, opt-in"; RFC 6455 4, RFC 9110 7.8).

Whoever routes calls `handshake` for a route that may be upgraded; a request that asks for nothing of the kind passes
as it is. The accept value that the 101 must carry waits in `x.special` under a name that no field can have, so a plain
request knows nothing of all this. With the 101 both connections leave HTTP: their transports get the two `End`s of one
`Tunnel` as protocols, bytes pass as they come, each direction is held back and ended by itself. The exchange lives as
long as the tunnel: whoever counts requests in flight counts it. No frame is looked into.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from services.core.verdicts import Refusal
from services.http1 import runner
from services.http1.exchange import NO_BODY, Exchange
from services.http1.requests import V11

if TYPE_CHECKING:
    from services.http1.heads import UpstreamHead
    from services.http1.pool import Pool

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
ACCEPT: Final = b":accept"  # in Exchange.special
VERSION: Final = b"13"
KEY_BYTES: Final = 16
UPGRADE_LINES: Final = (b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n")
NO_VERSION: Final = Refusal(
    "upgrade-required", "websocket-version", headers=(*UPGRADE_LINES, b"Sec-WebSocket-Version: 13\r\n")
)
NO_KEY: Final = Refusal("bad-request", "websocket-key", "Sec-WebSocket-Key is 16 bytes in base64, once.", close=True)
TOO_MANY: Final = Refusal("temporary-reduced-capacity", "streams", retry_after_s=1, facts={"reason": "streams"})


def handshake(x: Exchange) -> Refusal | None:
    """Of a route that may be upgraded: does x ask for a WebSocket, and rightly? If so it is forwarded as an upgrade.
    What is no GET, no HTTP/1.1 or has a body is served as if it had not asked (RFC 9110 7.8).
    """
    if not (_asks(x.special) and x.method == b"GET" and x.version == V11 and x.framing == NO_BODY):
        return None
    if values(x.fields, b"sec-websocket-version") != [VERSION]:
        return NO_VERSION
    keys = values(x.fields, b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        return NO_KEY
    if x.connection.server.tunnels >= x.connection.server.limits.streams_max:
        return TOO_MANY
    x.special[ACCEPT] = accept_of(keys[0])
    x.fields += UPGRADE_LINES
    return None


def is_agreed(x: Exchange, head: UpstreamHead) -> bool:
    """Is this 101 the answer to the handshake that was sent on?"""
    wanted = x.special.get(ACCEPT)
    if wanted is None or not _asks(head.special):
        return False
    return values(head.fields, b"sec-websocket-accept") == [wanted]


def accept_of(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())


def values(lines: Iterable[bytes], name: bytes) -> list[bytes]:
    """Every value of a field that nobody else here looks at."""
    split = (line.partition(b":") for line in lines)
    return [value.strip() for found, _, value in split if found.lower() == name]


def _asks(special: dict[bytes, bytes]) -> bool:
    return _names(special, b"upgrade", b"websocket") and _names(special, b"connection", b"upgrade")


def _names(special: dict[bytes, bytes], name: bytes, token: bytes) -> bool:
    return token in (part.strip(b" \t") for part in special.get(name, b"").lower().split(b","))


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == KEY_BYTES
    except binascii.Error:
        return False


class End:
    """One of a tunnel's connections, as its transport's protocol."""

    __slots__ = ("ended", "lost", "other", "shut", "transport", "tunnel")
    other: End

    def __init__(self, tunnel: Tunnel, transport: Any) -> None:
        self.tunnel = tunnel
        self.transport = transport
        self.ended = False  # its peer sends no more
        self.shut = False  # it is sent no more
        self.lost = False

    def data_received(self, data: bytes) -> None:
        tunnel, other = self.tunnel, self.other
        if other.shut:
            return
        tunnel.moved = monotonic()
        if self is tunnel.client:
            tunnel.x.bytes_in += len(data)
        else:
            tunnel.x.bytes_out += len(data)
        other.transport.write(data)

    def eof_received(self) -> bool:
        """True: the way back stays open. TLS has none and closes by itself."""
        self.ended = True
        self.other.shut_down()
        if self.other.ended:
            self.tunnel.close()
        return bool(self.transport.can_write_eof())

    def pause_writing(self) -> None:
        if not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost = self.shut = True
        self.tunnel.end_lost(self)

    def shut_down(self) -> None:
        """What was written still goes out, then its end."""
        if self.shut:
            return
        self.shut = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()


class Tunnel:
    """Two connections that have left HTTP, and the exchange that led there. A `Carrier`."""

    __slots__ = ("client", "closing", "moved", "pool", "settled", "upstream", "x")

    def __init__(self, x: Exchange, pool: Pool, upstream: Any) -> None:
        self.x = x
        self.pool = pool
        self.client = End(self, x.connection.transport)
        self.upstream = End(self, upstream)
        self.client.other, self.upstream.other = self.upstream, self.client
        self.moved = monotonic()  # when bytes came last, or the end began
        self.closing = False
        self.settled = False

    def open(self, rest: bytes) -> None:
        """The 101 is written; `rest` came behind it."""
        self.client.transport.set_protocol(self.client)
        self.upstream.transport.set_protocol(self.upstream)
        connection = self.x.connection
        if connection.write_paused:  # by earlier answers
            connection.write_paused = False
            self.client.pause_writing()
        if rest:
            self.upstream.data_received(rest)

    def look(self, now: float) -> None:
        """The sweeper's: silent for too long, or not gone in time after its end began."""
        deadlines = self.pool.deadlines
        if self.closing:
            if now - self.moved >= deadlines.linger_s:
                self.abort()
        elif now - self.moved >= deadlines.tunnel_idle_s:
            self.end(now)

    def end(self, now: float) -> None:
        """Both peers are told that nothing more comes; `look` aborts what does not go."""
        self.closing = True
        self.moved = now
        self.client.shut_down()
        self.upstream.shut_down()

    def close(self) -> None:
        self.client.transport.close()
        self.upstream.transport.close()

    def abort(self) -> None:
        self.client.transport.abort()
        self.upstream.transport.abort()

    def end_lost(self, end: End) -> None:
        """One is gone: if a direction had ended the other gets what is written and a close, else it is aborted too."""
        x = self.x
        clean = end.ended or end.other.ended or self.closing
        if not clean and not end.other.lost:
            x.reason = x.reason or ("client-gone" if end is self.client else "cut")
            end.other.transport.abort()
        elif not end.other.lost:
            end.other.transport.close()
        if end is self.client:
            x.connection.tunnel_lost()
        if not self.settled:
            self.settled = True
            self.pool.active -= 1
            x.connection.server.tunnels -= 1
            x.now = monotonic()
            runner.finish(x)

    # -- the carrier's

    def more(self, _x: Exchange) -> None:
        """There is no request body."""

    def drop(self, _x: Exchange) -> None:
        self.abort()

    def pause_reading(self) -> None:
        """The ends do it themselves."""

    def resume_reading(self) -> None:
        """The ends do it themselves."""
