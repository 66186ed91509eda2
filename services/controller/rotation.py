"""A changed tiers document, from the spec into every gateway and balancer (operator.md §6).

Written first, pushed second: a pod that starts now reads the new one from its file, one that runs is told, each tick
until it acknowledges the hash. What brings the old content back (a refusal, a canary that is worse) does so as a new
revision; the hash that failed is not tried again until the spec says something else, or a person asks for it.

Longer than 200 lines because each move's record and sentence stand side by side.

Caller: controller.rounds, once a tick. Which move is next is `core.rotation`'s; `plan` makes the record of it; `acks.push` talks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.controller.acks import Acks
from services.controller.backend import Event, Record
from services.controller.shadows import names, shadowed
from services.controller.trials import trial_of
from services.core import rotation
from services.core.rotation import Live, Move, State, Wish
from services.runtime.vitals import rfc3339
from services.schema.scalable_api import ScalableApiSpec, tiers_spec
from services.schema.sharing import shared
from services.schema.status import TierHistory
from services.schema.tiers import BUILT_IN, MAX_BYTES, TiersDocument, document, render

RETRY: Final = "scalableapi.io/retry-rotation"
"""An annotation: each new value has a document that failed tried once more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The record to store (the same object: nothing to store) and what to tell."""

    record: Record
    events: tuple[Event, ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The document to bring into force for the spec, and how."""

    target: TiersDocument
    wish: Wish
    history_limit: int


@dataclass(slots=True)
class Memo:
    """The last `Wanted`: making and hashing a document costs more than all else of a tick at rest."""

    spec: ScalableApiSpec | None = None
    record: Record | None = None
    made: Wanted | None = None

    def wanted(self, spec: ScalableApiSpec, record: Record) -> Wanted:
        """Made anew when the spec, the documents or the phase are others."""
        if self.made is None or spec is not self.spec or not _same_documents(self.record, record):
            self.made = _wanted(spec, record)
        self.spec, self.record = spec, record
        return self.made


def _same_documents(before: Record | None, now: Record) -> bool:
    if before is None or before.phase != now.phase:
        return False
    return before.active is now.active and before.candidate is now.candidate


def plan(
    now_ms: int,
    spec: ScalableApiSpec,
    record: Record,
    acks: Acks,
    *,
    retry: str = "",
    verdict: rotation.Verdict = "Unknown",
    memo: Memo | None = None,
) -> Plan:
    """The next state, from what the spec says, who has acknowledged, and how a canary does."""
    if retry != record.retry:
        record = replace(record, retry=retry, failed_hash="")
    wanted = (memo or Memo()).wanted(spec, record)
    state = State(
        record.phase,
        record.since_ms,
        record.active.hash if record.active else "",
        record.candidate.hash if record.candidate else "",
        record.canaries,
        record.failed_hash,
    )
    live = Live(acks.gateways, bool(acks.live) and not acks.unacked(record))
    move = rotation.plan(now_ms, wanted.wish, state, live, verdict)
    return _made(now_ms, move, record, wanted, acks)


def _wanted(spec: ScalableApiSpec, record: Record) -> Wanted:
    asked, active, rules = shared(tiers_spec(spec)), record.active, spec.tiers.rotation
    audit = spec.tiers.enforcement == "Audit" and active is not None
    content = shadowed(active.spec, asked) if active and audit else asked
    if active and content == active.spec:  # at rest one is kept, not two
        content = active.spec
    target = shared(document(_next_revision(record), content))
    breaker_only = active is not None and content == active.spec.model_copy(update={"breaker": content.breaker})
    wish = Wish(
        target=target.hash,
        audit=audit and content != asked,
        too_large=len(render(target)) > MAX_BYTES,
        paused=spec.paused.tiers,
        at_ms=round(datetime.fromisoformat(rules.at).timestamp() * 1000) if rules.at else 0,
        trial=None if breaker_only else trial_of(spec),
    )
    return Wanted(target, wish, rules.history_limit)


def _next_revision(record: Record) -> int:
    """Above everything that any pod was ever given."""
    given = (BUILT_IN, record.active, record.candidate if record.phase == "Canary" else None)
    return max(made.revision for made in given if made) + 1


def _made(now_ms: int, move: Move, record: Record, wanted: Wanted, acks: Acks) -> Plan:
    """The record after the move, and what to say about it."""
    target, limit = wanted.target, wanted.history_limit
    if move.act == "Wait":
        return _wait(now_ms, move, record, wanted)
    if move.act == "Canary":
        first = [pod.name for pod in acks.live if pod.uid in move.canaries]
        kept = record.candidate if record.phase == "Canary" and record.candidate else target
        begun = replace(record, phase="Canary", since_ms=now_ms, candidate=kept, canaries=move.canaries)
        message = f"r{kept.revision} on {', '.join(first)[:120]} ({len(first)} of {len(acks.gateways)} gateways)"
        return Plan(begun, (Event("Normal", "TiersCanaryStarted", message),), message)
    if move.act == "Roll":
        return Plan(_activated(now_ms, record, target, limit))
    if move.act == "Finish" and record.candidate:
        return Plan(replace(_activated(now_ms, record, record.candidate, limit), untested=move.untested))
    if move.act == "Back" and record.candidate:
        return _given_up(now_ms, move, record, record.candidate, limit)
    return _rest(now_ms, move, record, wanted, acks)


def _wait(now_ms: int, move: Move, record: Record, wanted: Wanted) -> Plan:
    scheduled = move.phase == "Scheduled"
    moment = f"until {rfc3339(wanted.wish.at_ms / 1000)}" if scheduled else "for paused.tiers: false"
    waiting = record.candidate if record.phase == move.phase else None
    if waiting and waiting.hash == wanted.target.hash:
        return Plan(record, message=f"r{waiting.revision} waits {moment}")
    message = f"r{wanted.target.revision} waits {moment}"
    kept = replace(record, phase=move.phase, since_ms=now_ms, candidate=wanted.target)
    return Plan(kept, (Event("Normal", "TiersScheduled", message),) if scheduled else (), message)


def _rest(now_ms: int, move: Move, record: Record, wanted: Wanted, acks: Acks) -> Plan:
    """Another phase, or the same one, with what it has to say."""
    phase, message = move.phase, ""
    failed = "" if phase in {"Active", "Shadowing"} else record.failed_hash
    kept = record
    if (phase, failed) != (record.phase, record.failed_hash):
        kept = replace(record, phase=phase, failed_hash=failed, candidate=None, canaries=())
        kept = kept if phase == record.phase else replace(kept, since_ms=now_ms)
    told: list[Event] = []
    if phase == "Rejected":
        message = f"the document has more than {MAX_BYTES} bytes; shorten tiers"
        told = [Event("Warning", "TiersRejected", message)]
    elif phase == "RolledBack":
        message = "the spec's document was refused; change it"
    elif phase == "Shadowing":
        message = f"audited: {', '.join(names(wanted.target.spec)) or 'nothing that a tier enforces'}"
        told = [Event("Normal", "TiersShadowing", message)]
    elif phase == "Active" and record.phase == "RollingOut" and record.active:
        count = len(acks.live)
        told = [Event("Normal", "TiersRotated", f"r{record.active.revision} is enforced by {count} of {count}")]
    return Plan(kept, tuple(told) if phase != record.phase else (), message)


def roll_back(now_ms: int, record: Record, errors: Sequence[str], limit: int) -> Plan:
    """A pod refused the newest document: the content before it, as a new revision."""
    refused = record.candidate if record.phase == "Canary" else record.active
    why = f"r{refused.revision if refused else 0} was refused: {'; '.join(errors)[:160]}"
    if record.phase == "Canary" and record.candidate:
        return _told_back(_returned(now_ms, record, record.candidate, limit), why)
    old = record.history[0][1].spec if record.history else BUILT_IN.spec
    back = _activated(now_ms, record, document(_next_revision(record), old), limit, outcome="RolledBack")
    failed = refused.hash if refused else ""
    return _told_back(replace(back, phase="RollingBack", failed_hash=failed), why)


def _given_up(now_ms: int, move: Move, record: Record, candidate: TiersDocument, limit: int) -> Plan:
    back = _returned(now_ms, record, candidate, limit)
    if move.failed:
        return _told_back(back, f"r{candidate.revision} did worse on its canaries than the others without it")
    (entry, past), *older = back.history
    history = ((entry.model_copy(update={"outcome": "Superseded"}), past), *older)
    back = replace(back, failed_hash="", history=history)
    return _told_back(back, f"r{candidate.revision} is not the spec's any more")


def _returned(now_ms: int, record: Record, candidate: TiersDocument, limit: int) -> Record:
    """From a canary: what the others enforce, above the candidate's revision."""
    content = record.active.spec if record.active else BUILT_IN.spec
    back = _activated(now_ms, record, document(_next_revision(record), content), limit)
    history = ((_entry(candidate, record.since_ms, "RolledBack"), candidate), *back.history)[: max(1, limit)]
    return replace(back, phase="RollingBack", failed_hash=candidate.hash, history=history)


def _told_back(record: Record, why: str) -> Plan:
    return Plan(record, (Event("Warning", "TiersRolledBack", why),), why)


def _activated(now_ms: int, record: Record, made: TiersDocument, limit: int, outcome: str = "") -> Record:
    before, history = record.active, record.history
    if before:
        rolling = "Superseded" if record.phase == "RollingOut" else "NoTraffic" if record.untested else "Enforced"
        history = ((_entry(before, record.since_ms, outcome or rolling), before), *history)[: max(1, limit)]
    return replace(  # one entry of history is needed to roll back to
        record,
        active=made,
        phase="RollingOut",
        since_ms=now_ms,
        failed_hash=record.failed_hash if outcome else "",
        history=history,
        candidate=None,
        canaries=(),
        untested=False,
    )


def _entry(past: TiersDocument, since_ms: int, outcome: str) -> TierHistory:
    return TierHistory.model_validate(
        {"revision": past.revision, "hash": past.hash, "at": rfc3339(since_ms / 1000), "outcome": outcome}
    )
