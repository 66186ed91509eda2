"""The start scripts of the chart's development stores, with real servers: what the bootstrap Job's Secret says is what lets one in."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis.asyncio
import redis.exceptions

from services.cli.commands.bootstrap import dev_stores
from services.cli.embedded import valkey
from services.cli.embedded.child import unprivileged
from services.runtime import migrate
from tests.cluster.control_plane import free_ports
from tests.harness.stores import PostgresServer, folder
from tests.harness.wait import eventually

FILES = Path(__file__).resolve().parents[2] / "charts" / "scalable-api" / "files"
SECRETS = "/etc/scalable-api/secrets"


@dataclass
class Store:
    """A store's pod: its script with the paths of `home`, and the environment it is started in."""

    home: Path
    script: str
    env: Mapping[str, str]
    keys: dict[str, str]

    def write(self) -> None:
        """The files of its volumes, readable by the user it runs as."""
        for name, value in self.keys.items():
            (self.home / "secrets" / name.removeprefix("dev-")).write_text(value)

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        account = unprivileged()
        (self.home / "start.sh").write_text(self.script)
        process = subprocess.Popen(
            ["/bin/sh", str(self.home / "start.sh")],
            env=self.env,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)


@pytest.fixture
def home() -> Iterator[Path]:
    account = unprivileged()
    with folder() as path:
        path.chmod(0o755)
        for name in ("secrets", "data"):
            (path / name).mkdir()
        if account:
            os.chown(path / "data", account.uid, account.gid)
        yield path


@pytest.fixture
def store(home: Path, postgres: PostgresServer) -> Store:
    """Postgres, with the programs of the session's."""
    (port,) = free_ports(1)
    script = (FILES / "dev-postgres.sh").read_text()
    for ours, here in (
        (SECRETS, str(home / "secrets")),
        ("listen_addresses='*'", "listen_addresses=127.0.0.1"),
        ("unix_socket_directories=/tmp", f"unix_socket_directories={home / 'data'}"),
    ):
        assert ours in script
        script = script.replace(ours, here)
    keys = {name: url.replace(":5432/", f":{port}/") for name, url in dev_stores("127.0.0.1", "127.0.0.1").items()}
    programs = Path(str(postgres.server.process.args[0])).parent  # type: ignore[index]
    env = {"PATH": f"{programs}:/usr/bin:/bin", "PGDATA": str(home / "data" / "cluster"), "PGPORT": str(port)}
    made = Store(home, script, env, keys)
    made.write()
    return made


def arguments(process: subprocess.Popen[str]) -> str:
    return Path(f"/proc/{process.pid}/cmdline").read_text()


async def answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=2)
    except (OSError, asyncpg.CannotConnectNowError):
        return False
    await connection.close()
    return True


async def test_postgres_lets_the_three_roles_in_and_nobody_else(store: Store) -> None:
    """Migrations run as the owner and grant; the roles keep their passwords over a restart; without one nobody enters."""
    owner, app, gateway = (store.keys[f"dev-{role}-url"] for role in ("owner", "app", "gateway"))
    with store.running():
        await eventually(lambda: answers(owner), 30, "Postgres answers")
        assert (await migrate.up(owner)).ran
        connection = await asyncpg.connect(gateway)
        assert await connection.fetch("SELECT id FROM gateway_keys") == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT id FROM users")
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(owner.replace(urlsplit(owner).password or "", "wrong"))
    (store.home / "data" / "cluster").chmod(0o770)  # as a volume's fsGroup would
    with store.running():
        await eventually(lambda: answers(app), 30, "Postgres answers again")
        assert (await migrate.up(owner)).ran == ()


async def test_postgres_begins_anew_after_a_start_that_was_cut_short(store: Store) -> None:
    """Half a cluster is no cluster: it is made whole, not run."""
    half = store.home / "data" / "cluster.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18")
    if account := unprivileged():
        os.chown(half, account.uid, account.gid)
    with store.running():
        await eventually(lambda: answers(store.keys["dev-app-url"]), 30, "Postgres answers")
    assert not half.exists()


def test_postgres_refuses_a_password_that_it_would_misread(store: Store) -> None:
    """A person's own Secret may hold anything: said by the key's name, before anything is made."""
    store.keys["dev-app-url"] = "postgresql://scalable_app:a'b@127.0.0.1:5432/scalable_api"
    store.write()
    with store.running() as process:
        said, _ = process.communicate(timeout=20)
    assert (process.returncode, said) == (1, "dev-app-url: its password must be of A-Z a-z 0-9 _ -\n")
    assert not list((store.home / "data").iterdir())


async def test_valkey_wants_the_password_and_shows_it_to_nobody(home: Path) -> None:
    """It is on standard input: not among the arguments that everyone on the node can read."""
    (port,) = free_ports(1)
    url = dev_stores("127.0.0.1", "127.0.0.1")["dev-redis-url"].replace(":6379/", f":{port}/")
    script = (FILES / "dev-valkey.sh").read_text().replace(SECRETS, str(home / "secrets"))
    assert "dir /data\n" in script
    script = script.replace("dir /data\n", f"dir {home / 'data'}\nport {port}\nbind 127.0.0.1\n")
    binary = valkey.find()
    assert binary is not None
    shutil.copy(binary.path, home / "valkey-server")
    store = Store(home, script, {"PATH": f"{home}:/usr/bin:/bin"}, {"dev-redis-url": url})
    store.write()
    with store.running() as process:
        async with redis.asyncio.Redis.from_url(url) as client:
            await eventually(client.ping, 20, "Valkey answers")
        password = urlsplit(url).password or ""
        assert password not in arguments(process)
        async with redis.asyncio.Redis.from_url(url.replace(password, "wrong")) as stranger:
            with pytest.raises(redis.exceptions.AuthenticationError):
                await stranger.ping()
