"""Postgres and Valkey of an instance: started here, or given by URL; then migrated, with demo rows and keys."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import redis.asyncio
import redis.exceptions

from services.cli.embedded import postgres, valkey
from services.cli.embedded.child import Running, StoreError, major
from services.cli.errors import CliError
from services.cli.instance import write_private
from services.cli.up.environment import Secrets
from services.cli.up.options import Options
from services.cli.up.preflight import Ready
from services.runtime import migrate
from services.runtime.migrations import MigrationError

GIVEN_S: Final = 5.0  # a store that was given either answers now or is not there
SHORT: Final = 12  # characters of a version that are shown


@dataclass(slots=True)
class Stores:
    """DSNs for the three roles, and the children to end; none of them where the store was given."""

    owner: str
    app: str
    gateway: str
    redis_url: str
    running: tuple[Running, ...]
    summary: str

    def stop(self) -> None:
        for store in self.running:
            store.stop()

    async def revive(self, ready: Ready) -> list[str]:
        """Starts those that ended again, at the same address; their names."""
        names: list[str] = []
        running: list[Running] = []
        for store in self.running:
            if store.process.poll() is None:
                running.append(store)
                continue
            folder, durable = ready.folder.path, not ready.folder.temporary
            if isinstance(store, postgres.Server):
                names.append("postgres")
                running.append(await postgres.start(folder, durable=durable, binary=ready.postgres, earlier=store))
            else:
                names.append("valkey")
                running.append(await valkey.start(folder, durable=durable, binary=ready.valkey, earlier=store))
        self.running = tuple(running)
        return names


async def start(options: Options, ready: Ready) -> Stores:
    """Both side by side. If one fails, the other is ended."""
    jobs = (_postgres(options, ready), _valkey(options, ready))
    tasks = [asyncio.ensure_future(job) for job in jobs]  # noqa: TID251  # gathered below
    try:
        await asyncio.gather(*tasks)
    except BaseException as error:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, _Part):
                outcome.stop()
        if isinstance(error, StoreError):
            raise CliError(error.code, error.what, error.why) from None
        raise
    pg, vk = (task.result() for task in tasks)
    running = tuple(p.running for p in (pg, vk) if p.running is not None)
    (owner, app, gateway), (redis_url,) = pg.urls, vk.urls
    return Stores(owner, app, gateway, redis_url, running, f"{pg.summary}   {vk.summary}")


@dataclass(frozen=True, slots=True)
class _Part:
    urls: tuple[str, ...]
    running: Running | None
    summary: str

    def stop(self) -> None:
        if self.running is not None:
            self.running.stop()


async def _postgres(options: Options, ready: Ready) -> _Part:
    if options.database_url is not None:
        version = await _given_postgres(options.database_url)
        return _Part((options.database_url,) * 3, None, f"postgres {version} (given)")
    server = await postgres.start(ready.folder.path, durable=not ready.folder.temporary, binary=ready.postgres)
    urls = tuple(server.dsn_of(role) for role in ("owner", "app", "gateway"))
    return _Part(urls, server, f"postgres {server.version} {server.seconds:.1f} s")


async def _valkey(options: Options, ready: Ready) -> _Part:
    if options.redis_url is not None:
        version = await _given_redis(options.redis_url)
        return _Part((options.redis_url,), None, f"redis {version} (given)")
    server = await valkey.start(ready.folder.path, durable=not ready.folder.temporary, binary=ready.valkey)
    return _Part((server.dsn,), server, f"valkey {server.version} {server.seconds:.1f} s")


async def _given_postgres(dsn: str) -> str:
    try:
        connection = await asyncpg.connect(dsn, timeout=GIVEN_S)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError) as error:
        raise _unreachable("Postgres", dsn, error) from None
    version = str(await connection.fetchval("SHOW server_version")).split(" ", 1)[0]
    await connection.close()
    if major(version + ".") < postgres.OLDEST:
        raise CliError("E110", f"Postgres {version} is too old", f"{postgres.OLDEST} or newer is needed")
    return version[:SHORT]


async def _given_redis(url: str) -> str:
    try:
        client = redis.asyncio.Redis.from_url(url, socket_connect_timeout=GIVEN_S, socket_timeout=GIVEN_S)
    except ValueError as error:
        raise _unreachable("Redis", url, error) from None
    try:
        server = await client.info("server")
        await client.eval("return 1", 0)
    except (OSError, redis.exceptions.RedisError) as error:
        raise _unreachable("Redis", url, error) from None
    finally:
        await client.aclose()
    version = str(server.get("valkey_version") or server.get("redis_version", "0"))
    if major(version) < valkey.OLDEST:
        raise CliError("E110", f"Redis {version} is too old", f"{valkey.OLDEST} or newer is needed")
    return version[:SHORT]


def _unreachable(kind: str, url: str, error: BaseException) -> CliError:
    why = f"{without_password(url)}: {error or type(error).__name__}"
    return CliError("E110", f"the given {kind} cannot be used", why.replace(url, without_password(url)))


def without_password(url: str) -> str:
    """For messages: URLs of stores carry secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


async def prepare(stores: Stores, ready: Ready, secrets: Secrets) -> str:
    """Schema, rows, demo keys; what was done, for the banner. E108: a schema this version does not know."""
    report = await _migrated(migrate.up(stores.owner))
    if ready.demo:
        await migrate.demo_rows(stores.owner)
        path = ready.folder.path / "demo-keys.json"
        if not path.exists():  # an earlier start's keys go on working
            await _demo_keys(stores, secrets, path)
        return f"schema {report.version} migrations"
    email = os.environ.get("ADMIN_EMAIL") or "admin@example.com"
    password = await migrate.first_admin(stores.owner, email, os.environ.get("ADMIN_PASSWORD"))
    made = f"   admin {email} password {password}" if password else ""
    return f"schema {report.version} migrations{made}"


async def _migrated(work: Coroutine[Any, Any, migrate.Report]) -> migrate.Report:
    try:
        return await work
    except MigrationError as error:
        what = "the database and this version do not fit"
        raise CliError(error.code, what, str(error), "take the version that made it") from None


async def _demo_keys(stores: Stores, secrets: Secrets, path: Path) -> None:
    number, _, pepper = secrets.api_key_peppers.partition(":")
    keys = await migrate.demo_keys(stores.owner, int(number), base64.b64decode(pepper))
    write_private(path, json.dumps(keys, indent=2) + "\n")
