"""The manifest file as an object: read when it changes, refused without harm, numbered by its spec's content.

A text that cannot be accepted leaves the last accepted spec in force; after a restart that is the one in the state
file. `generation` grows with the spec, as the API server's does. Caller: backends.processes.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from services.controller.backend import Api
from services.schema.scalable_api import ManifestError, ScalableApi, load_manifest
from services.schema.status import ObjectMetadata, StoredObject

MAX_MANIFEST_BYTES: Final = 1 << 20
Signature = tuple[int, int, int]


@dataclass(slots=True)
class Manifest:
    """`api` is what the controller sees; `metadata` what the state file keeps."""

    path: Path
    api: Api
    metadata: ObjectMetadata
    signature: Signature | None

    def look(self) -> bool:
        """Read it again if it was touched; True when the object changed."""
        signature = _signature(self.path)
        if signature == self.signature:
            return False
        self.signature = signature
        before = self.api
        try:
            found = _read(self.path, self.api.name)
        except ManifestError as error:
            self.api = replace(self.api, errors=tuple(map(str, error.faults)))
            return self.api != before
        grown = self.api.generation + (found.spec != self.api.spec)
        self.api = replace(
            self.api, generation=grown, spec=found.spec, errors=(), annotations=dict(found.metadata.annotations)
        )
        changes = {"generation": grown, "labels": found.metadata.labels, "annotations": found.metadata.annotations}
        self.metadata = self.metadata.model_copy(update=changes)
        return self.api != before


def open_manifest(path: Path, state: Path, now: str) -> Manifest:
    """The manifest at start; raises ManifestError: then nothing is in force yet and nothing should start."""
    found = _read(path, None)
    name = found.metadata.name
    kept = _stored(state / f"{name}.json")
    uid, born = (kept.metadata.uid, kept.metadata.creation_timestamp) if kept else (str(uuid.uuid4()), now)
    generation = (kept.metadata.generation + (kept.spec != found.spec)) if kept else 1
    metadata = ObjectMetadata(
        name=name,
        labels=found.metadata.labels,
        annotations=found.metadata.annotations,
        uid=uid,
        generation=generation,
        creation_timestamp=born,
    )
    api = Api(uid, name, generation, born, found.spec, annotations=dict(found.metadata.annotations))
    return Manifest(path, api, metadata, _signature(path))


def _read(path: Path, name: str | None) -> ScalableApi:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST_BYTES)
    except OSError as error:
        raise ManifestError.of(f"{path}: {error.strerror}") from None
    found = load_manifest(raw)
    if name is not None and found.metadata.name != name:
        raise ManifestError.of(f"metadata.name is {found.metadata.name!r}, {name!r} runs here; restart to change it")
    return found


def _stored(path: Path) -> StoredObject | None:
    try:
        return StoredObject.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _signature(path: Path) -> Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)
