"""The tiers document in force in this process: from its file, or pushed by the controller; the last good one stays.

The file is looked at twice a second (a mounted ConfigMap is replaced by a symlink swap, which inotify on the file
misses; so it is read when its identity, size or time changed). Revisions only rise: an older one, or an equal one
with another hash, is refused. A bad document at start leaves the built-in one in force with a note in `degraded`.
Gateway and balancer subscribe by `on_change`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.runtime import tasks
from services.runtime.log import get_log
from services.schema.tiers import BUILT_IN, TiersDocument, TiersRefusedError, parse

LOOK_S: Final = 0.5
DOCUMENT_MAX_BYTES: Final = 64 * 1024

Check = Callable[[TiersDocument], list[str]]
log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Ack:
    """What is enforced now."""

    revision: int
    hash: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a document is not: `stale` = older or the same revision with another hash; else it is wrong."""

    errors: tuple[str, ...]
    stale: bool = False


class TiersHolder:
    def __init__(self, path: Path | None) -> None:
        self.document: TiersDocument = BUILT_IN
        self.on_change: list[Callable[[TiersDocument], None]] = []
        self.checks: list[Check] = []  # a component's own conditions: errors, or none
        self.note = ""  # why the file's document is not in force; empty if it is
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Load the file before anything is served, then watch it."""
        if self._path is not None:
            self._look()
            self._task = tasks.spawn(self._watch(), name="tiers-file")

    async def stop(self) -> None:
        await tasks.stop(self._task)

    @property
    def ack(self) -> Ack:
        return Ack(self.document.revision, self.document.hash)

    def push(self, raw: bytes) -> Ack | Refused:
        """Take a document if it is newer and right; idempotent for the one in force."""
        if len(raw) > DOCUMENT_MAX_BYTES:
            return Refused((f"the document has {len(raw)} bytes, at most {DOCUMENT_MAX_BYTES} are allowed",))
        try:
            document = parse(raw)
        except TiersRefusedError as error:
            return Refused(tuple(error.errors))
        return self._take(document)

    def _take(self, document: TiersDocument) -> Ack | Refused:
        now = self.document
        if document.revision == now.revision and document.hash == now.hash:
            return self.ack
        if document.revision <= now.revision:
            text = f"revision {document.revision} ({document.hash}) does not follow {now.revision} ({now.hash})"
            return Refused((text,), stale=True)
        if errors := [error for check in self.checks for error in check(document)]:
            return Refused(tuple(errors))
        self.document = document
        for changed in self.on_change:
            changed(document)
        log.info("tiers in force", revision=document.revision, hash=document.hash)
        return self.ack

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self._look()

    def _look(self) -> None:
        path = self._path
        if path is None:
            return
        try:
            stat = os.stat(path)  # noqa: PTH116  # follows the ConfigMap's symlink; a local file, microseconds
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            raw = path.read_bytes()
        except OSError as error:
            self._complain(f"{path}: {error.strerror}")
            return
        self._seen = seen
        outcome = self.push(raw)
        if isinstance(outcome, Refused) and not outcome.stale:
            self._complain(f"{path}: {'; '.join(outcome.errors[:3])}")
        else:
            self.note = ""

    def _complain(self, note: str) -> None:
        if note != self.note:
            log.error("tiers file refused", reason=note, revision=self.document.revision)
        self.note = note
