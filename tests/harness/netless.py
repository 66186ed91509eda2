"""Tests talk to this machine only: a connection to any other address fails at once, with its name."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any
from unittest import mock


def is_local(address: Any) -> bool:
    """True for unix sockets and loopback addresses; a name other than localhost counts as far away."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def netless() -> Iterator[None]:
    """Within it, this process's sockets reach loopback alone (asyncio's too; uvloop's connections are not seen)."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(original: Any) -> Any:
        def call(self: socket.socket, address: Any) -> Any:
            if not is_local(address):
                raise OSError(errno.ENETUNREACH, f"a test tried to reach {address!r}; only this machine is allowed")
            return original(self, address)

        return call

    with mock.patch.object(socket.socket, "connect", guarded(connect)):  # noqa: SIM117  # one patch a line
        with mock.patch.object(socket.socket, "connect_ex", guarded(connect_ex)):
            yield
