"""`scalable-api tiers`: which document is in force and who enforces it; `history`, `rotate`, `rollback`: what was
before, and what is next. Both of the last edit the spec; the controller does the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from services.cli.commands.apply import read
from services.cli.commands.waiting import beyond_help, not_enforced, observed, wait
from services.cli.errors import DONE, FAILED, NOT_FOUND, REFUSED, USAGE, CliError
from services.cli.output import Format, clean, emit, say, since, table, tell
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
    elif not found:
        tell("no document came before the one in force")
    else:
        say(
            *table(
                ["REVISION", "SINCE", "OUTCOME", "HASH"], [[h.revision, since(h.at), h.outcome, h.hash] for h in found]
            )
        )
    return DONE


def rotate(
    target: Target, path: Path, name: str | None, *, canary: int | None, audit: bool, within_s: float | None
) -> int:
    """`path` holds the members of spec.tiers; what it leaves out gets its default. `canary` percent of the gateways
    first; `audit`: counted, nobody is refused. `within_s`: how long to wait.
    """
    try:
        body = rolled_out(load(read(path), max_bytes=MAX_BYTES).value, canary=canary, audit=audit)
        wanted = Tiers.model_validate(body, by_alias=True, by_name=False)
    except DocumentError as error:
        raise _no_tiers(path, [str(error)]) from None
    except ValidationError as error:
        raise _no_tiers(path, [str(fault) for fault in faults_of(error, Tiers)]) from None
    found = the_one(target, name)
    if found.spec and (faults := meaning_faults(found.spec.model_copy(update={"tiers": wanted}))):
        raise _no_tiers(path, [str(fault) for fault in faults])  # the API server cannot see these
    return _put(target, found, wanted, body, within_s=within_s)


def rolled_out(body: Any, *, canary: int | None, audit: bool) -> Any:
    """The file's members with the way that the flags ask for; what is no mapping is the model's to refuse."""
    if not isinstance(body, dict):
        return body
    if canary is not None:
        rotation = {key: value for key, value in (body.get("rotation") or {}).items() if key != "at"}
        trial = {**(rotation.get("canary") or {}), "podsPercent": canary}
        body = {**body, "rotation": {**rotation, "strategy": "Canary", "canary": trial}}
    return {**body, "enforcement": "Audit"} if audit else body


def percent(text: str) -> int:
    """`10%` or `10`."""
    number = text.strip().removesuffix("%")
    if not number.isdecimal() or not 1 <= int(number) <= 50:
        raise CliError(
            "", f"--canary {clean(text)}", "a share of the gateways from 1% to 50% is expected", exit_code=USAGE
        )
    return int(number)


def _no_tiers(path: Path, faults: list[str]) -> CliError:
    why = "\n".join(clean(fault) for fault in faults)
    return CliError(
        "", f"{path} holds no members of spec.tiers", why, "docs/reference/scalableapi.md lists them", REFUSED
    )


def rollback(target: Target, name: str | None, *, within_s: float | None) -> int:
    """Patches spec.tiers with the newest document before; rotation and enforcement stay as they are."""
    found = the_one(target, name)
    before = target.tiers_before(found)
    if found.spec is None or not before:
        raise CliError(
            "",
            "no tiers to go back to",
            "the history holds no document",
            "scalable-api tiers rotate -f FILE",
            NOT_FOUND,
        )
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
    return _put(target, found, wanted, {**body, **kept}, within_s=within_s)


def members(document: TiersDocument) -> dict[str, Any]:
    """What spec.tiers said when this document was made: without the built-in routes that were put behind."""
    spec = document.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"breaker"})
    own = len(document.spec.routes) - len(BUILT_IN_ROUTES)
    if document.spec.routes[own:] == BUILT_IN_ROUTES:
        spec["routes"] = spec["routes"][:own]
    return {"definitions": spec.pop("tiers"), **spec}


def _put(target: Target, found: StoredObject, wanted: Tiers, body: Any, *, within_s: float | None) -> int:
    name = found.metadata.name
    target.edit(found, lambda manifest: manifest["spec"].update(tiers=body))
    say(f"scalableapi/{name} tiers changed")
    if within_s is None:
        return DONE
    wanted_phase = "Active" if wanted.enforcement == "Enforce" else "Shadowing"

    def lacking(seen: StoredObject) -> str:
        tiers = seen.status.tiers
        if seen.spec is None or seen.spec.tiers != wanted or not observed(seen):
            return "the controller has not seen these tiers yet"
        if tiers.phase not in ("Active", wanted_phase):
            return f"{tiers.phase}: {tiers.message}" if tiers.message else tiers.phase
        return not_enforced(seen)

    def hopeless(seen: StoredObject) -> str:
        tiers = seen.status.tiers
        failed = observed(seen) and tiers.phase in ("RolledBack", "Rejected")
        return f"{tiers.phase}: {tiers.message}" if failed else beyond_help(seen)

    return wait(
        target, name, "enforced" if wanted_phase == "Active" else "audited", lacking, within_s, hopeless=hopeless
    )
