"""`scalable-api apply -f F`: validate, show the difference, write the running instance's manifest whole or not at
all.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import stat
import sys
import tempfile
from pathlib import Path

import yaml

from services.cli import instance as instances
from services.cli.commands.status import ready, wait_for
from services.cli.errors import DONE, REFUSED, USAGE, WAIT_RAN_OUT, CliError
from services.cli.instance import Instance, refused
from services.cli.output import ANSI_GREEN, ANSI_RED, clean, paint, say, tell
from services.schema.scalable_api import MAX_BYTES, ManifestError, ScalableApi, load_manifest
from services.schema.status import StoredObject


def read(path: Path) -> bytes:
    """The file's bytes; `-` is stdin. Missing, a folder or empty: wrong usage."""
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1) if str(path) == "-" else _bounded(path)
    except OSError as error:
        raise CliError("", f"{path} cannot be read", error.strerror or str(error), exit_code=USAGE) from None
    if not raw.strip():
        raise CliError("", f"{path} is empty", "a manifest was expected", exit_code=USAGE)
    return raw


def _bounded(path: Path) -> bytes:
    """Regular files only: a FIFO would wait for its other end."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(None, "is not a regular file")
        return file.read(MAX_BYTES + 1)


def validated(raw: bytes, path: str) -> ScalableApi:
    """E106 with every fault: line, path, what was expected, the nearest name."""
    try:
        return load_manifest(raw)
    except ManifestError as error:
        faults = [clean(fault) for fault in error.faults]
        raise CliError(
            "E106", f"{path} is no valid ScalableApi", "\n".join(faults), "put it right and run it again"
        ) from None


def run(path: Path, *, dry_run: bool, wait: bool, timeout_s: float) -> int:
    raw = read(path)
    wanted = validated(raw, str(path))
    instance = instances.current()
    if wanted.metadata.name != instance.name:
        why = f"the running instance is {instance.name!r}, the file's metadata.name is {clean(wanted.metadata.name)!r}"
        raise refused(
            "one instance runs one ScalableApi", why, f"name it {instance.name}, or scalable-api up -f {path}"
        )
    target = Path(instance.manifest)
    changes = difference(_current(target), wanted)
    if not changes:
        say(f"scalableapi/{instance.name} unchanged")
        return DONE
    show(changes)
    if dry_run:
        say(f"scalableapi/{instance.name} would change (dry run)")
        return DONE
    if not (target.exists() and str(path) != "-" and path.resolve() == target.resolve()):
        write(target, raw)
    say(f"scalableapi/{instance.name} configured")
    return _wait(instance, wanted, timeout_s) if wait else DONE


def _current(target: Path) -> ScalableApi | None:
    try:
        return load_manifest(target.read_bytes())
    except (OSError, ManifestError):
        return None


def difference(before: ScalableApi | None, after: ScalableApi) -> list[str]:
    """Of the specs with their defaults, so that only what changes in force is shown."""
    old, new = (_text(api) if api else [] for api in (before, after))
    return list(difflib.unified_diff(old, new, "in force", "applied", n=2, lineterm=""))


def _text(api: ScalableApi) -> list[str]:
    body = api.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    dumped: str = yaml.safe_dump(body, sort_keys=False, default_flow_style=False)
    return dumped.splitlines()


def show(changes: list[str]) -> None:
    for line in changes:
        colour = {"+": ANSI_GREEN, "-": ANSI_RED}.get(line[:1])
        say(paint(clean(line), colour) if colour else clean(line))


def write(target: Path, raw: bytes) -> None:
    """Beside the target, then renamed over it, with its mode: the watcher sees the old file or the new one."""
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
        real = target.resolve()
        handle, temporary = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(raw)
            file.flush()
            os.fsync(handle)
        os.replace(temporary, real)  # noqa: PTH105
    except OSError as error:
        raise CliError("", f"{target} cannot be written", error.strerror or str(error), exit_code=REFUSED) from None


def _wait(instance: Instance, wanted: ScalableApi, timeout_s: float) -> int:
    """Until the controller has seen this spec, every process enforces its tiers, and all is ready."""

    def settled(found: StoredObject) -> bool:
        seen = found.spec == wanted.spec and found.status.observed_generation == found.metadata.generation
        pods = found.status.tiers.pods
        return seen and pods.total > 0 and pods.acked == pods.total and ready(found).status == "True"

    if asyncio.run(wait_for(instance, settled, timeout_s)) is None:
        tell(f"not in force within {timeout_s:.0f} s; see scalable-api status")
        return WAIT_RAN_OUT
    say(f"scalableapi/{instance.name} in force")
    return DONE
