"""A changed tiers document, from the spec into every gateway and balancer (operator.md §6, the Immediate path).

Written first, pushed second: a pod that starts now reads the new one from its file, one that runs is told, each tick
until it acknowledges the hash. A pod that refuses the document (422) brings the old content back, as a new revision;
the refused hash is not tried again until the spec says something else.

Caller: the loop, once a tick. `plan` is pure; `push` does the talking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from services.controller.backend import Event, Pod, Record
from services.controller.observe import Watch
from services.controller.pods import Answer, Hands
from services.runtime.vitals import rfc3339
from services.schema.scalable_api import ScalableApiSpec, duration_ms, tiers_spec
from services.schema.status import TierHistory
from services.schema.tiers import BUILT_IN, MAX_BYTES, TiersDocument, TiersSpec, document, render

MAX_WAIT_MS: Final = 30_000


@dataclass(slots=True)
class Acks:
    """Who enforces which hash, as far as we heard, and when to ask a silent one again."""

    live: tuple[Pod, ...] = ()
    hashes: dict[str, str] = field(default_factory=dict)
    tries: dict[str, tuple[int, int]] = field(default_factory=dict)

    def take(self, watch: Watch, pods: Sequence[Pod]) -> None:
        """A snapshot names the hash too: it is believed over an older answer."""
        self.live = tuple(pods)
        for pod in pods:
            seen = watch.seen.get(pod.uid)
            if seen and seen.snapshot.tier:
                self.hashes[pod.uid] = seen.snapshot.tier.hash
        live = {pod.uid for pod in pods}
        self.hashes = {uid: hash_ for uid, hash_ in self.hashes.items() if uid in live}
        self.tries = {uid: wait for uid, wait in self.tries.items() if uid in live}

    def unacked(self, active: TiersDocument | None) -> list[Pod]:
        """Live pods that do not enforce the active document, as far as we know."""
        return [pod for pod in self.live if active and self.hashes.get(pod.uid) != active.hash]


@dataclass(frozen=True, slots=True)
class Plan:
    """The record to store (the same object: nothing to store) and what to tell."""

    record: Record
    events: tuple[Event, ...] = ()
    message: str = ""


def plan(now_ms: int, spec: ScalableApiSpec, record: Record, acks: Acks) -> Plan:
    """The next state, from what the spec says and who has acknowledged."""
    wanted = tiers_spec(spec)
    candidate = document((record.active.revision if record.active else 0) + 1, wanted)
    if record.active and record.active.hash == candidate.hash:
        return _settle(now_ms, record, acks)
    if record.active and candidate.hash == record.failed_hash:
        return _settle(now_ms, record, acks, refused=True)
    if len(render(candidate)) > MAX_BYTES:
        message = f"the document has more than {MAX_BYTES} bytes; shorten tiers"
        told = () if record.phase == "Rejected" else (Event("Warning", "TiersRejected", message),)
        return Plan(_phase(now_ms, record, "Rejected"), told, message)
    if spec.paused.tiers and record.active:
        return Plan(_phase(now_ms, record, "Paused"), message=f"r{candidate.revision} waits for paused.tiers: false")
    return Plan(_roll(now_ms, record, wanted, spec.tiers.rotation.history_limit), message="")


def _settle(now_ms: int, record: Record, acks: Acks, *, refused: bool = False) -> Plan:
    """The content in force stays: it is the spec's, or what the spec says was refused. Is everybody there?"""
    if record.phase in {"RollingOut", "RollingBack"} and (acks.unacked(record.active) or not acks.live):
        return Plan(record)
    if refused:
        return Plan(_phase(now_ms, record, "RolledBack"), message="the spec's document was refused; change it")
    revision = record.active.revision if record.active else 0
    events: tuple[Event, ...] = ()
    if record.phase == "RollingOut":
        events = (Event("Normal", "TiersRotated", f"r{revision} is enforced by {len(acks.live)} of {len(acks.live)}"),)
    return Plan(_phase(now_ms, replace(record, failed_hash="") if record.failed_hash else record, "Active"), events)


def roll_back(now_ms: int, record: Record, active: TiersDocument, errors: Sequence[str], history_limit: int) -> Plan:
    """A pod refused the active document: its predecessor's content as a new revision."""
    old = record.history[0][1].spec if record.history else BUILT_IN.spec
    back = _roll(now_ms, record, old, history_limit, outcome="RolledBack")
    message = f"r{active.revision} was refused: {'; '.join(errors)[:160]}"
    return Plan(
        replace(back, phase="RollingBack", failed_hash=active.hash),
        (Event("Warning", "TiersRolledBack", message),),
        message,
    )


def _roll(now_ms: int, record: Record, spec: TiersSpec, limit: int, outcome: str = "") -> Record:
    before = record.active
    history = record.history
    if before:
        said = "RolledBack" if outcome else "Superseded" if record.phase == "RollingOut" else "Enforced"
        entry = TierHistory(
            revision=before.revision, hash=before.hash, at=rfc3339(record.since_ms / 1000), outcome=said
        )
        history = ((entry, before), *history)[: max(1, limit)]  # one is needed to roll back to
    return Record(
        active=document((before.revision if before else 0) + 1, spec),
        phase="RollingOut",
        since_ms=now_ms,
        failed_hash=record.failed_hash if outcome else "",
        history=history,
        seen=record.seen,
    )


def _phase(now_ms: int, record: Record, phase: str) -> Record:
    return record if record.phase == phase else replace(record, phase=phase, since_ms=now_ms)  # type: ignore[arg-type]  # a literal's value


async def push(now_ms: int, spec: ScalableApiSpec, record: Record, acks: Acks, hands: Hands) -> Mapping[str, Answer]:
    """Offer the active document to every live pod that has not acknowledged it and is due; answers by uid."""
    due = [pod for pod in acks.unacked(record.active) if now_ms >= acks.tries.get(pod.uid, (0, 0))[1]]
    if not due or record.active is None:
        return {}
    answers = await hands.ports.push(due, hands.token, hands.backend.epoch, render(record.active))
    ack_ms = duration_ms(spec.tiers.rotation.ack_timeout)
    for uid, answer in answers.items():
        if answer.status == 200:
            acks.hashes[uid] = answer.hash
            acks.tries.pop(uid, None)
        else:
            acks.tries[uid] = _again(now_ms, record, acks.tries.get(uid, (0, 0))[0], ack_ms)
    return answers


def _again(now_ms: int, record: Record, tries: int, ack_ms: int) -> tuple[int, int]:
    """Every tick at first; once it is late, after 1, 2, 4 … 30 s."""
    if now_ms - record.since_ms < ack_ms:
        return 0, now_ms
    return tries + 1, now_ms + min(MAX_WAIT_MS, 1000 * 2 ** min(tries, 5))


def stale(now_ms: int, record: Record, spec: ScalableApiSpec, acks: Acks) -> list[str]:
    """Names of live pods that have not acknowledged although they had `ackTimeout`."""
    if now_ms - record.since_ms < duration_ms(spec.tiers.rotation.ack_timeout):
        return []
    return sorted(pod.name for pod in acks.unacked(record.active))
