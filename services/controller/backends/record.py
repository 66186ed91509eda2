"""The rotation's record as a folder: `tiers.yaml`, `history.yaml`, `rotation.yaml`, as a ConfigMap's keys would be.

`tiers.yaml` is what processes read (TIERS_FILE), so it is written last: whoever sees the new document finds its
history beside it. A phase that belongs to another revision than the document's is taken as "still rolling out".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, get_args

import yaml

from services.controller.backend import Record
from services.controller.backends.files import write_atomically
from services.schema.documents import DocumentError, load
from services.schema.status import Phase, TierHistory
from services.schema.tiers import TiersDocument, TiersRefusedError, parse, render

MAX_BYTES: Final = 1 << 20
ACTIVE: Final = "tiers.yaml"
PHASES: Final = frozenset(get_args(Phase))


def store(folder: Path, record: Record) -> None:
    """Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    history = [
        entry.model_dump(by_alias=True) | {"document": render(document).decode()} for entry, document in record.history
    ]
    revision = record.active.revision if record.active else 0
    rotation = {
        "phase": record.phase,
        "revision": revision,
        "sinceMs": record.since_ms,
        "failedHash": record.failed_hash,
        "seen": int(record.seen or 0),
    }
    _write(folder / "history.yaml", history)
    _write(folder / "rotation.yaml", rotation)
    if record.active:
        data = render(record.active)
        if _bytes(folder / ACTIVE) != data:
            write_atomically(folder / ACTIVE, data)


def restore(folder: Path) -> Record | None:
    """The record, or None when there is none that can be read: then the next one starts at revision 1."""
    try:
        active = parse((folder / ACTIVE).read_bytes())
    except (OSError, TiersRefusedError):
        return None
    said = _read(folder / "rotation.yaml")
    rotation = said if isinstance(said, dict) and said.get("revision") == active.revision else {}
    phase: Phase = rotation["phase"] if rotation.get("phase") in PHASES else "RollingOut"
    since_ms = rotation.get("sinceMs")
    return Record(
        active=active,
        phase=phase,
        since_ms=since_ms if isinstance(since_ms, int) else 0,
        failed_hash=str(rotation.get("failedHash", "")),
        history=_history(_read(folder / "history.yaml")),
        seen=str(rotation.get("seen", 0)),
    )


def _history(entries: Any) -> tuple[tuple[TierHistory, TiersDocument], ...]:
    """For people and for rolling back; damaged, it is none: the document in force does not depend on it."""
    try:
        return tuple(
            (
                TierHistory.model_validate({k: v for k, v in item.items() if k != "document"}),
                parse(item["document"].encode()),
            )
            for item in entries
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()


def _write(path: Path, value: Any) -> None:
    write_atomically(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode())


def _read(path: Path) -> Any:
    try:
        return load(path.read_bytes(), max_bytes=MAX_BYTES).value
    except (OSError, DocumentError):
        return None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
