"""The rotation's record as plain values, and as a folder: `tiers.yaml`, `candidate.yaml`, `history.yaml`, `rotation.yaml`.

`state_of`, `history_of` and `restored` are the form that both homes share; Kubernetes keeps it in a ConfigMap.

`tiers.yaml` is what processes read (TIERS_FILE), so it is written last: whoever sees the new document finds its
history beside it. A phase that belongs to another revision than the document's is taken as "still rolling out".
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args

import yaml

from services.controller.backend import Record
from services.controller.backends.files import write_atomically
from services.core.budget import Line
from services.schema.documents import DocumentError, load
from services.schema.sharing import shared
from services.schema.status import Phase, TierHistory
from services.schema.tiers import TiersDocument, TiersRefusedError, parse, render

MAX_BYTES: Final = 1 << 20
ACTIVE: Final = "tiers.yaml"
CANDIDATE: Final = "candidate.yaml"
WITH_CANDIDATE: Final = frozenset({"Canary", "Scheduled", "Paused"})
PHASES: Final = frozenset(get_args(Phase))


def store(folder: Path, record: Record) -> None:
    """Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder / "history.yaml", history_of(record))
    if record.candidate:
        _replace(folder / CANDIDATE, render(record.candidate))
    _write(folder / "rotation.yaml", state_of(record) | {"seen": int(record.seen or 0)})
    if record.active:
        _replace(folder / ACTIVE, render(record.active))


def restore(folder: Path) -> Record | None:
    """The record, or None when there is none that can be read: then the next one starts at revision 1."""
    state = _read(folder / "rotation.yaml")
    history, written_ms = _read(folder / "history.yaml"), _written_ms(folder / ACTIVE)
    found = restored(_bytes(folder / ACTIVE), _bytes(folder / CANDIDATE), history, state, written_ms)
    seen = state.get("seen", 0) if isinstance(state, dict) else 0
    return replace(found, seen=str(seen)) if found else None


def state_of(record: Record) -> dict[str, Any]:
    """Everything but the documents, in plain values: what a ConfigMap keeps in annotations."""
    line = record.budget
    return {
        "phase": record.phase,
        "revision": record.active.revision if record.active else 0,
        "sinceMs": record.since_ms,
        "failedHash": record.failed_hash,
        "canaries": list(record.canaries),
        "untested": record.untested,
        "retry": record.retry,
        "budget": [line.start_ms, line.as_of_ms, line.used, line.rate] if line else None,
    }


def history_of(record: Record) -> list[dict[str, Any]]:
    """The documents before, in plain values."""
    return [
        entry.model_dump(by_alias=True) | {"document": render(document).decode()} for entry, document in record.history
    ]


def restored(active: bytes, candidate: bytes, history: Any, state: Any, written_ms: int = 0) -> Record | None:
    """A record from what `render`, `history_of` and `state_of` made; None without a document that can be read.

    A document that no state tells of (a chart's, or an edited one) is in force since `written_ms`.
    """
    document = _parsed(active)
    if document is None:
        return None
    said = state if isinstance(state, dict) else {}
    rotation = said if said.get("revision") == document.revision else {}
    phase: Phase = rotation["phase"] if rotation.get("phase") in PHASES else "RollingOut"
    second = _parsed(candidate) if phase in WITH_CANDIDATE else None
    if phase == "Canary" and second is None:  # nothing to compare with: the active document is in force
        phase = "RollingOut"
    since_ms, canaries = rotation.get("sinceMs"), rotation.get("canaries")
    return Record(
        active=document,
        phase=phase,
        since_ms=since_ms if isinstance(since_ms, int) else written_ms,
        failed_hash=str(rotation.get("failedHash", "")),
        history=_history(history),
        candidate=second,
        canaries=tuple(map(str, canaries)) if isinstance(canaries, list) else (),
        untested=rotation.get("untested") is True,
        retry=str(rotation.get("retry", "")),
        budget=_line(said.get("budget")),
    )


def _line(numbers: Any) -> Line | None:
    whole = isinstance(numbers, list) and len(numbers) == 4 and all(type(number) is int for number in numbers)
    return Line(*numbers) if whole else None


def _parsed(raw: bytes) -> TiersDocument | None:
    try:
        return shared(parse(raw))
    except TiersRefusedError:
        return None


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


def _replace(path: Path, data: bytes) -> None:
    if _bytes(path) != data:
        write_atomically(path, data)


def _read(path: Path) -> Any:
    try:
        return load(path.read_bytes(), max_bytes=MAX_BYTES).value
    except (OSError, DocumentError):
        return None


def _written_ms(path: Path) -> int:
    try:
        return round(path.stat().st_mtime * 1000)
    except OSError:
        return 0


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
