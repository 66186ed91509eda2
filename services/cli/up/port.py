"""The port clients use: 8080, or the next free one, or exactly the one asked for.

The reservation is a bound socket that never listens: with SO_REUSEPORT the gateways bind beside it and share the
port, and nobody else (another user, another `up` without the option) can take it meanwhile.
"""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Final

from services.cli.errors import CliError

USUAL: Final = 8080
OTHERS: Final = range(8081, 8100)
SHARED: Final = sys.platform == "linux"  # elsewhere SO_REUSEPORT does not spread connections: one gateway at most


@dataclass(frozen=True, slots=True)
class Reservation:
    host: str
    port: int
    holder: str  # who has the usual port, where that is not ours
    socket: socket.socket

    def release(self) -> None:
        self.socket.close()


def reserve(host: str, asked: int | None) -> Reservation:
    """E101 for a port asked for and taken; without one the first free of 8080, 8081…8099."""
    if asked is not None:
        return Reservation(host, *_bound(host, asked))
    holder = ""
    for port in (USUAL, *OTHERS):
        try:
            taken, _, sock = _bound(host, port)
        except CliError as error:
            holder = holder or error.why
            continue
        return Reservation(host, taken, holder, sock)
    raise CliError("E101", "ports 8080 to 8099 are all in use", holder, "scalable-api up --port 0")


def _bound(host: str, port: int) -> tuple[int, str, socket.socket]:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, proto)
    except OSError as error:
        raise CliError("E101", f"cannot listen on {host}", str(error), "--host 127.0.0.1") from None
    try:
        if SHARED:
            _refuse_beside_others(family, kind, address)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno != errno.EADDRINUSE:
            raise CliError(
                "E101", f"cannot listen on {host}:{port}", error.strerror or str(error), "--port 8090"
            ) from None
        why = f"{holder_of(port)} listens on {host}:{port}"
        raise CliError("E101", f"port {port} is in use", why, f"scalable-api up --port {port + 10}") from None
    return int(sock.getsockname()[1]), "", sock


def _refuse_beside_others(family: int, kind: int, address: Any) -> None:
    """A bind without SO_REUSEPORT fails beside anybody's socket, also one that would share: another `up`."""
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT of the last run is no listener
        probe.bind(address)


def holder_of(port: int) -> str:
    """`nginx (pid 812)`, as far as the system tells."""
    for argv in (["ss", "-Hltnp", f"sport = :{port}"], ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fcp"]):
        try:
            out = subprocess.run(argv, capture_output=True, text=True, timeout=2, check=False).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        name, pid = _parsed(out)
        if pid:
            return f"{name} (pid {pid})"
    return "another process"


def _parsed(out: str) -> tuple[str, str]:
    if "users:((" in out:
        parts = out.split('users:(("', 1)[1].split('",pid=', 1)
        return parts[0], parts[1].split(",", 1)[0]
    fields = {line[0]: line[1:] for line in out.splitlines() if line[:1] in ("p", "c")}
    return fields.get("c", ""), fields.get("p", "")
