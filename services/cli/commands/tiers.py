"""`scalable-api tiers`: which document is in force and who enforces it; `history`, `rotate`, `rollback`: what was
before, and what is next. Both of the last edit the spec; the controller does the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from services.cli.commands.apply import read
from services.cli.commands.status import wait_for
from services.cli.errors import DONE, FAILED, NOT_FOUND, REFUSED, WAIT_RAN_OUT, CliError
from services.cli.output import Format, clean, emit, say, table, tell
from services.cli.targets.target import Target, the_one
from services.schema.documents import DocumentError, load
from services.schema.faults import faults_of
from services.schema.scalable_api import MAX_BYTES, meaning_faults
from services.schema.spec_tiers import Tiers
from services.schema.status import StoredObject
from services.schema.tiers import BUILT_IN_ROUTES, TiersDocument


def show(target: Target, form: Format, name: str | None) -> int:
    """Exit 1 while a live gateway or balancer does not enforce the active document."""
    tiers = the_one(target, name).status.tiers
    if form in (Format.json, Format.yaml):
        emit(form, "TiersReport", tiers.model_dump(mode="json", by_alias=True, exclude_none=True))
    else:
        heads = ["PHASE", "REVISION", "PREVIOUS", "ACKED", "PENDING", "HASH"]
        pods = f"{tiers.pods.acked}/{tiers.pods.total}"
        pending = tiers.pending.revision if tiers.pending else "-"
        say(
            *table(
                heads, [[tiers.phase, tiers.active_revision, tiers.previous_revision, pods, pending, tiers.active_hash]]
            )
        )
        say(*(f"not yet: {clean(process)}" for process in tiers.pods.stale))
    return DONE if tiers.pods.acked == tiers.pods.total else FAILED


def history(target: Target, form: Format, name: str | None) -> int:
    """Documents before, newest first."""
    found = the_one(target, name).status.tiers.history
    if form in (Format.json, Format.yaml):
        emit(form, "TiersHistory", {"history": [h.model_dump(mode="json", by_alias=True) for h in found]})
    else:
        say(*table(["REVISION", "SINCE", "OUTCOME", "HASH"], [[h.revision, h.at, h.outcome, h.hash] for h in found]))
    return DONE


def rotate(target: Target, path: Path, name: str | None, *, wait: bool, timeout_s: float) -> int:
    """`path` holds the members of spec.tiers."""
    try:
        body = load(read(path), max_bytes=MAX_BYTES).value
        wanted = Tiers.model_validate(body, by_alias=True, by_name=False)
    except DocumentError as error:
        raise _no_tiers(path, [str(error)]) from None
    except ValidationError as error:
        raise _no_tiers(path, [str(fault) for fault in faults_of(error, Tiers)]) from None
    found = the_one(target, name)
    if found.spec and (faults := meaning_faults(found.spec.model_copy(update={"tiers": wanted}))):
        raise _no_tiers(path, [str(fault) for fault in faults])  # the API server cannot see these
    return _put(target, found, wanted, body, within_s=timeout_s if wait else None)


def _no_tiers(path: Path, faults: list[str]) -> CliError:
    why = "\n".join(clean(fault) for fault in faults)
    return CliError("", f"{path} holds no members of spec.tiers", why, exit_code=REFUSED)


def rollback(target: Target, name: str | None, *, wait: bool, timeout_s: float) -> int:
    """Patches spec.tiers with the newest document before; rotation and enforcement stay as they are."""
    found = the_one(target, name)
    before = target.tiers_before(found)
    if found.spec is None or not before:
        raise CliError("", "no tiers to go back to", "the history holds no document", exit_code=NOT_FOUND)
    entry, document = before[0]
    body = members(document)
    kept = found.spec.tiers.model_dump(
        mode="json", by_alias=True, exclude_none=True, include={"rotation", "enforcement"}
    )
    try:
        wanted = Tiers.model_validate({**body, **kept}, by_alias=True, by_name=False)
    except ValidationError as error:
        raise CliError(
            "",
            f"revision {entry.revision} is no spec",
            clean(error.errors()[0]["msg"]),
            "tiers rotate -f FILE",
            REFUSED,
        ) from None
    say(f"back to revision {entry.revision}, {entry.hash}")
    return _put(target, found, wanted, {**body, **kept}, within_s=timeout_s if wait else None)


def members(document: TiersDocument) -> dict[str, Any]:
    """What spec.tiers said when this document was made: without the built-in routes that were put behind."""
    spec = document.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"breaker"})
    own = len(document.spec.routes) - len(BUILT_IN_ROUTES)
    if document.spec.routes[own:] == BUILT_IN_ROUTES:
        spec["routes"] = spec["routes"][:own]
    return {"definitions": spec.pop("tiers"), **spec}


def _put(target: Target, found: StoredObject, wanted: Tiers, body: Any, *, within_s: float | None) -> int:
    name = found.metadata.name
    target.edit(found, lambda spec: spec.__setitem__("tiers", body))
    say(f"scalableapi/{name} tiers changed")
    if within_s is None:
        return DONE

    def settled(seen: StoredObject) -> bool:
        current = seen.spec is not None and seen.spec.tiers == wanted
        pods = seen.status.tiers.pods
        observed = seen.status.observed_generation == seen.metadata.generation
        return current and observed and seen.status.tiers.phase == "Active" and pods.acked == pods.total > 0

    if wait_for(target, name, settled, within_s) is None:
        tell(f"not enforced everywhere within {within_s:.0f} s; see scalable-api tiers")
        return WAIT_RAN_OUT
    say(f"scalableapi/{name} tiers in force")
    return DONE
