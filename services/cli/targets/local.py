"""The running local instance as a target: the controller's state file, the manifest that it watches."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.cli import instance as instances
from services.cli.errors import NOT_FOUND, REFUSED, CliError
from services.cli.fleet import decisions
from services.cli.instance import Instance, refused
from services.cli.output import clean
from services.cli.targets.manifest_text import rewritten
from services.cli.targets.target import Before, Change, Door, Happened, parsed
from services.controller.backends.files import read_events
from services.controller.backends.processes import tiers_file
from services.controller.backends.record import restore
from services.schema.documents import load
from services.schema.scalable_api import MAX_BYTES, ManifestError, ScalableApi, ScalableApiSpec, load_manifest
from services.schema.status import LastDecision, StoredObject

POLL_S: Final = 0.2
"""The controller writes at most once a second; nobody waits longer than this for it."""


@dataclass(frozen=True, slots=True)
class Local:
    """One instance holds one object."""

    instance: Instance

    def place(self, found: StoredObject) -> str:  # noqa: ARG002  # one instance, one place
        return self.instance.url

    def about(self, found: StoredObject) -> dict[str, str]:  # noqa: ARG002
        return {"url": self.instance.url, "manifest": self.instance.manifest}

    def objects(self) -> list[StoredObject]:
        return [parsed(self.instance.object(), f"version {self.instance.version}")]

    def object(self, name: str) -> StoredObject:
        if name != self.instance.name:
            why = f"the running instance is {self.instance.name!r}"
            raise CliError(
                "", f"no ScalableApi {clean(name)}", why, "leave the name out, or name a cluster: -n", NOT_FOUND
            )
        return self.objects()[0]

    def watch(self, name: str | None, within_s: float | None = None) -> Iterator[StoredObject]:
        deadline = None if within_s is None else time.monotonic() + within_s
        found = self.object(name or self.instance.name)
        yield found
        while instances.alive(self.instance.pid) and (deadline is None or time.monotonic() < deadline):
            time.sleep(POLL_S)
            if (latest := self.objects()[0]) != found:
                found = latest
                yield found

    def in_force(self, wanted: ScalableApi) -> ScalableApiSpec | None:
        name = wanted.metadata.name
        if name != self.instance.name:
            why = f"the running instance is {self.instance.name!r}, the file's metadata.name is {clean(name)!r}"
            raise refused("one instance runs one ScalableApi", why, f"name it {self.instance.name}, or start another")
        try:
            return load_manifest(Path(self.instance.manifest).read_bytes()).spec
        except (OSError, ManifestError):
            return None

    def would(self, wanted: ScalableApi, raw: bytes) -> ScalableApiSpec:  # noqa: ARG002
        return wanted.spec

    def write(self, wanted: ScalableApi, raw: bytes, source: str) -> None:  # noqa: ARG002
        target, path = Path(self.instance.manifest), Path(source)
        same = target.exists() and source != "-" and path.resolve() == target.resolve()
        if not same:
            replace(target, raw)

    def taken(self, wanted: ScalableApi, found: StoredObject) -> bool:
        return found.spec == wanted.spec

    def edit(self, found: StoredObject, change: Change) -> None:  # noqa: ARG002
        path = Path(self.instance.manifest)
        raw = edited(path, change)
        try:
            load_manifest(raw)
        except ManifestError as error:
            why = "\n".join(clean(fault) for fault in error.faults)
            raise refused("the manifest would not be valid any more", why) from None
        replace(path, raw)

    def tiers_before(self, found: StoredObject) -> Before:
        record = restore(tiers_file(self.instance.state, found.metadata.name).parent)
        return record.history if record else ()

    def events(self, name: str) -> list[Happened]:
        kept = read_events(self.instance.state / "events.jsonl")
        return [Happened(e["time"], e["type"], e["reason"], 1, e["message"]) for e in kept if e["object"] == name]

    def door(self, found: StoredObject) -> AbstractContextManager[Door]:  # noqa: ARG002
        return nullcontext(door_of(self.instance))

    def live_decisions(self, found: StoredObject) -> dict[str, LastDecision]:
        decided = asyncio.run(decisions(self.instance, found.metadata.name, found.metadata.namespace or ""))
        return {name: LastDecision.model_validate(body, by_alias=True) for name, body in decided.items()}


def door_of(instance: Instance) -> Door:
    controls = [str(endpoint["controlUrl"]) for endpoint in instance.endpoints("api")]
    return Door(instance.url, controls, instance.token())


def edited(path: Path, change: Change) -> bytes:
    """The file after `change`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CliError("", f"{path} cannot be read", error.strerror or str(error), exit_code=REFUSED) from None
    try:
        load_manifest(raw)
    except ManifestError as error:
        raise refused("the manifest is not valid as it is", clean(error.faults[0]), f"put {path} right") from None
    body = load(raw, max_bytes=MAX_BYTES).value
    change(body)
    try:
        return rewritten(raw.decode(), body).encode()
    except ValueError as error:
        raise refused(
            f"{path} is yours to edit", str(error), "change it in an editor; the instance follows it"
        ) from None


def replace(target: Path, raw: bytes) -> None:
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
