"""Who enforces which tiers document, and telling those who do not enforce theirs (operator.md §6: push, ack, stale).

Callers: the loop, once a tick; controller.rotation, which waits for acknowledgements.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.controller.backend import Pod, Record
from services.controller.observe import Watch
from services.controller.pods import Answer, Hands
from services.schema.scalable_api import ScalableApiSpec, duration_ms
from services.schema.tiers import TiersDocument, render

MAX_WAIT_MS: Final = 30_000


@dataclass(slots=True)
class Acks:
    """Who enforces which hash, as far as we heard, and when to ask a silent one again."""

    live: tuple[Pod, ...] = ()
    gateways: tuple[str, ...] = ()
    hashes: dict[str, str] = field(default_factory=dict)
    tries: dict[str, tuple[int, int]] = field(default_factory=dict)

    def take(self, watch: Watch, pods: Sequence[Pod], gateways: Collection[str] = ()) -> None:
        """A snapshot names the hash too: it is believed over an older answer. `gateways`: uids of those that are."""
        self.live = tuple(pods)
        known = [pod for pod in pods if pod.uid in gateways]
        self.gateways = tuple(pod.uid for pod in sorted(known, key=lambda pod: (pod.started_at_ms, pod.name)))
        for pod in pods:
            seen = watch.seen.get(pod.uid)
            if seen and seen.snapshot.tier:
                self.hashes[pod.uid] = seen.snapshot.tier.hash
        live = {pod.uid for pod in pods}
        self.hashes = {uid: hash_ for uid, hash_ in self.hashes.items() if uid in live}
        self.tries = {uid: wait for uid, wait in self.tries.items() if uid in live}

    def unacked(self, record: Record) -> list[Pod]:
        """Live pods that do not enforce what they should, as far as we know."""
        return [pod for pod in self.live if (due := due_to(record, pod)) and self.hashes.get(pod.uid) != due.hash]

    def enforcing(self, newest: TiersDocument | None) -> int:
        """How many live pods enforce that document."""
        return sum(newest is not None and self.hashes.get(pod.uid) == newest.hash for pod in self.live)


def due_to(record: Record, pod: Pod) -> TiersDocument | None:
    """The document that the pod should enforce."""
    first = record.phase == "Canary" and pod.uid in record.canaries
    return record.candidate if first and record.candidate else record.active


async def push(now_ms: int, spec: ScalableApiSpec, record: Record, acks: Acks, hands: Hands) -> Mapping[str, Answer]:
    """Offer its document to every live pod that has not acknowledged it and is due; answers by uid."""
    due = [pod for pod in acks.unacked(record) if now_ms >= acks.tries.get(pod.uid, (0, 0))[1]]
    ack_ms = duration_ms(spec.tiers.rotation.ack_timeout)
    answers: dict[str, Answer] = {}
    for made in (record.active, record.candidate):
        pods = [pod for pod in due if due_to(record, pod) is made]
        if made and pods:
            answers |= await hands.ports.push(pods, hands.token, hands.backend.epoch, render(made))
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
    return sorted(pod.name for pod in acks.unacked(record))
