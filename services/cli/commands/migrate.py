"""`scalable-api migrate [up|status|verify]`: the database of DATABASE_URL, or of the running instance."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from services.cli import instance as instances
from services.cli.errors import DONE, FAILED, CliError
from services.cli.output import Format, clean, emit, say, table, tell
from services.runtime import migrate
from services.runtime.migrations import MigrationError
from services.runtime.settings import SettingsError, setting

T = TypeVar("T")


def target(given: str | None) -> str:
    """The owner's DSN: the flag, the environment, else the running instance's own."""
    if given:
        return given
    if dsn := _setting("DATABASE_URL"):
        return dsn
    return instances.current().owner_dsn


def _setting(name: str) -> str | None:
    """By all its spellings: on Kubernetes secrets are files."""
    try:
        return setting(name, os.environ)
    except SettingsError as error:
        raise CliError("E110", f"{name} cannot be read", clean(error), "put the path or its file right") from None


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except MigrationError as error:
        raise CliError(error.code, "the database and this version do not fit", clean(error)) from None
    except (OSError, TimeoutError) as error:
        why = clean(str(error) or type(error).__name__)
        raise CliError("E110", "the database cannot be reached", why, "check DATABASE_URL") from None


def up(form: Format, dsn: str, wait_s: float) -> int:
    """Pending migrations, grants, and the first admin where there is none."""
    report = _run(migrate.up(dsn, wait_s=wait_s))
    email = _setting("ADMIN_EMAIL") or "admin@example.com"
    password = _run(migrate.first_admin(dsn, email, _setting("ADMIN_PASSWORD")))
    if form in (Format.json, Format.yaml):
        emit(form, "MigrateReport", {"ran": list(report.ran), "version": report.version})
    else:
        say(*(f"ran {name}" for name in report.ran), f"schema version {report.version}")
    if password:
        tell(f"made admin {clean(email)}, password {password} (to be changed at first login)")
    return DONE


def status(form: Format, dsn: str, wait_s: float) -> int:
    lines = _run(migrate.status(dsn, wait_s=wait_s))
    rows = [[f"{line.version:04}", line.filename, state(line)] for line in lines]
    if form in (Format.json, Format.yaml):
        emit(
            form,
            "MigrateStatus",
            {"migrations": [dict(zip(("version", "file", "state"), r, strict=True)) for r in rows]},
        )
    else:
        say(*table(["VERSION", "FILE", "STATE"], rows))
    return DONE if all(line.applied and line.known for line in lines) else FAILED


def state(line: migrate.Line) -> str:
    if not line.known:
        return "unknown to this version"
    return "applied" if line.applied else "pending"


def verify(form: Format, dsn: str, wait_s: float) -> int:
    faults = _run(migrate.verify(dsn, wait_s=wait_s))
    if form in (Format.json, Format.yaml):
        emit(form, "MigrateVerify", {"faults": faults})
    else:
        say(*(clean(fault) for fault in faults) if faults else ("checksums and schema are as in this version",))
    return FAILED if faults else DONE
