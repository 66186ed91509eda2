"""Files that are whole or old, never half: temporary file, fsync, rename, fsync of the folder (operator.md §0)."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Final

MAX_EVENTS_BYTES: Final = 1 << 20


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace `path`, readable by us alone. Not `durable`: no fsync, for what the next start writes anew."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:  # noqa: PTH123  # a descriptor, not a path
            file.write(data)
            file.flush()
            if durable:
                os.fsync(fd)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def append_event(path: Path, entry: dict[str, Any]) -> None:
    """One line of JSON; two files of 1 MiB are kept."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size >= MAX_EVENTS_BYTES:
            path.replace(path.with_suffix(".1.jsonl"))
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def read_events(path: Path) -> list[dict[str, Any]]:
    """What was appended and is kept, oldest first; a line that a crash cut in half is none."""
    found = []
    for file in (path.with_suffix(".1.jsonl"), path):
        with contextlib.suppress(FileNotFoundError):
            for line in file.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
    return found


def next_epoch(path: Path) -> int:
    """A counter that grows with each start."""
    try:
        before = int(path.read_text())
    except (OSError, ValueError):
        before = 0
    write_atomically(path, f"{before + 1}\n".encode())
    return before + 1
