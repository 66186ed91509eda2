"""`scalable-api apply -f F`: validate, show the difference, write the target's manifest whole or not at all."""

from __future__ import annotations

import difflib
import os
import stat
import sys
from pathlib import Path

import yaml

from services.cli.commands.waiting import beyond_help, not_enforced, not_ready, too_few, wait
from services.cli.errors import DONE, USAGE, CliError
from services.cli.output import ANSI_GREEN, ANSI_RED, clean, paint, say
from services.cli.targets.choice import choose
from services.cli.targets.kubectl import Where
from services.cli.targets.target import Target
from services.schema.scalable_api import MAX_BYTES, ManifestError, ScalableApi, ScalableApiSpec, load_manifest
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


def run(where: Where, path: Path, *, dry_run: bool, within_s: float | None) -> int:
    """`within_s`: how long to wait until it is in force."""
    raw = read(path)
    wanted = validated(raw, str(path))
    target, name = choose(where), wanted.metadata.name
    changes = difference(target.in_force(wanted), target.would(wanted, raw))
    show(changes)
    if dry_run:
        say(f"scalableapi/{name} {'would change' if changes else 'unchanged'} (dry run)")
        return DONE
    if changes:
        target.write(wanted, raw, str(path))
    say(f"scalableapi/{name} {'configured' if changes else 'unchanged'}")
    return DONE if within_s is None else _wait(target, wanted, within_s)


def difference(before: ScalableApiSpec | None, after: ScalableApiSpec) -> list[str]:
    """With their defaults, so that only what changes in force is shown."""
    old, new = (_text(spec) if spec else [] for spec in (before, after))
    return list(difflib.unified_diff(old, new, "in force", "applied", n=2, lineterm=""))


def _text(spec: ScalableApiSpec) -> list[str]:
    body = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    dumped: str = yaml.safe_dump(body, sort_keys=False, default_flow_style=False)
    return dumped.splitlines()


def show(changes: list[str]) -> None:
    for line in changes:
        colour = {"+": ANSI_GREEN, "-": ANSI_RED}.get(line[:1])
        say(paint(clean(line), colour) if colour else clean(line))


def _wait(target: Target, wanted: ScalableApi, within_s: float) -> int:
    """Until the controller has seen this spec, all is ready in the counts asked for, and every process enforces the tiers."""

    def lacking(found: StoredObject) -> str:
        if not target.taken(wanted, found):
            return not_ready(found) or "the controller has not seen this spec yet"
        return not_ready(found) or too_few(found) or not_enforced(found)

    def hopeless(found: StoredObject) -> str:
        return beyond_help(found) if target.taken(wanted, found) else ""

    return wait(target, wanted.metadata.name, "in force", lacking, within_s, hopeless=hopeless)
