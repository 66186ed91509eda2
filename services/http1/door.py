"""What stands before HTTP on some listeners: a PROXY header from a trusted peer, a TLS handshake (data-path 2,
"Listener").

A plain listener needs none of this: its connections come from `loop.create_server`. Here sockets are accepted by
ourselves, because the header comes before the handshake and not one byte behind it may be taken: it is peeked at. All
of it has `head_s`, and a connection on its way in counts against `max_connections` as one that is in.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from services.http1.certificate import Certificate
from services.http1.proxy_protocol import HEADER_MAX, Address, ProxyHeaderError, length, source
from services.http1.server import ServerConnection
from services.runtime import tasks
from services.runtime.log import get_log

if TYPE_CHECKING:
    from services.http1.listener import HttpServer

ACCEPTS_MAX: Final = 64  # at a time: what is open wants its turn as well
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
PAUSE_S: Final = 1.0  # until the next look at a listener for whose connections there was no room
log = get_log(__name__)

Trusts = Callable[[str], bool]


class Door:
    """`trusts`: whose PROXY header is expected, and without which they are not let in; None: nobody's."""

    def __init__(self, server: HttpServer, certificate: Certificate | None, trusts: Trusts | None) -> None:
        self._server = server
        self._certificate = certificate
        self._trusts = trusts
        self._socket: socket.socket | None = None
        self.entering: set[asyncio.Task[None]] = set()

    def open(self, host: str, port: int, backlog: int, *, reuse_port: bool) -> int:
        """Bind and accept; the port. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=backlog, reuse_port=reuse_port)
        self._socket.setblocking(False)  # noqa: FBT003
        self._listen()
        if self._certificate is not None:
            self._certificate.start()
        bound: int = self._socket.getsockname()[1]
        return bound

    def close(self) -> None:
        """Take in what waits, then no more."""
        if self._socket is not None:
            self._accept()
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    async def stop(self) -> None:
        """Who is still on his way in is left outside."""
        await tasks.stop(*self.entering)
        if self._certificate is not None:
            await self._certificate.stop()

    def _listen(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        assert self._socket is not None  # noqa: S101  # `close` removes the reader first
        for _ in range(ACCEPTS_MAX):
            try:
                sock, peer = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                log.warning("cannot accept", reason=error.strerror)
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._socket)
                loop.call_later(PAUSE_S, self._listen)
                return
            self._let_in(sock, peer)

    def _let_in(self, sock: socket.socket, peer: Any) -> None:
        server = self._server
        if server.connections + len(self.entering) >= server.limits.max_connections:
            server.refused_connections += 1
            sock.close()
            return
        sock.setblocking(False)  # noqa: FBT003
        task = tasks.spawn(self._enter(sock, peer), name="door")
        self.entering.add(task)
        task.add_done_callback(self.entering.discard)

    async def _enter(self, sock: socket.socket, peer: Any) -> None:
        server, certificate = self._server, self._certificate
        wanted = "proxy-header"
        try:
            async with asyncio.timeout(server.deadlines.head_s):
                if self._trusts is not None and self._trusts(peer[0]):
                    peer = await read_header(sock) or peer
                wanted = "tls"
                await self._hand_over(sock, peer, None if certificate is None else certificate.context)
        except (ProxyHeaderError, OSError):  # TimeoutError, SSLError and resets are OSErrors
            server.count_bad(wanted)
            sock.close()
        except asyncio.CancelledError:
            sock.close()
            raise

    async def _hand_over(self, sock: socket.socket, peer: Any, context: ssl.SSLContext | None) -> None:
        deadlines = self._server.deadlines
        times: dict[str, Any] = {}
        if context is not None:
            times = {"ssl_handshake_timeout": deadlines.head_s, "ssl_shutdown_timeout": deadlines.linger_s}
        loop = asyncio.get_running_loop()
        made = ServerConnection(self._server, peer)
        await loop.connect_accepted_socket(lambda: made, sock, ssl=context, **times)  # type: ignore[type-var]  # duck-typed


async def read_header(sock: socket.socket) -> Address | None:
    """The PROXY header and not a byte more; whom it names. Raises ProxyHeaderError, OSError."""
    header, whole = b"", 0
    while not whole or len(header) < whole:
        await readable(sock)
        seen = sock.recv(HEADER_MAX, socket.MSG_PEEK)
        if not seen:
            raise ProxyHeaderError("the connection ends before its header")
        whole = length(header + seen)
        header += sock.recv(min(len(seen), whole - len(header)) if whole else len(seen))
    return source(header)


async def readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(sock, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(sock)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
