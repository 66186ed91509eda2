"""One tick of the tiers: plan, store, push; a second round in the same tick sees the answers of the first (§6).

Written first, pushed second: what could not be stored is not pushed. Caller: controller.visit.
"""

from __future__ import annotations

from dataclasses import replace

from services.controller import acks, rotation
from services.controller.backend import Api, Conflict, Done, Event, Record
from services.controller.budgets import Purse
from services.controller.mind import Mind
from services.controller.pods import Hands
from services.runtime.log import get_log
from services.schema.scalable_api import ScalableApiSpec

log = get_log(__name__)


async def rotate(now_ms: int, api: Api, spec: ScalableApiSpec, mind: Mind, hands: Hands) -> tuple[list[Event], str]:
    """What happened, and what status.tiers says about it."""
    happened: list[Event] = []
    message = ""
    for _ in range(2):
        record = await known(api, mind, hands)
        retry, verdict = api.annotations.get(rotation.RETRY, ""), mind.trials.verdict(now_ms, spec, record)
        planned = rotation.plan(now_ms, spec, record, mind.acks, retry=retry, verdict=verdict, memo=mind.memo)
        message = planned.message
        if not await keep(api, mind, record, planned.record, hands):
            break
        happened += planned.events
        answers = await acks.push(now_ms, spec, mind.record or record, mind.acks, hands)
        refused = [error for a in answers.values() if a.status == 422 for error in a.errors or ("refused",)]
        if refused and mind.record and mind.record.active and mind.record.phase in {"RollingOut", "Canary"}:
            planned = rotation.roll_back(now_ms, mind.record, refused, spec.tiers.rotation.history_limit)
            message = planned.message
            if await keep(api, mind, mind.record, planned.record, hands):
                happened += planned.events
        if any(answer.status == 409 for answer in answers.values()):
            mind.record = None  # somebody holds a newer one: look before the next push
            break
        if not answers:
            break
    return happened, message


async def keep_line(api: Api, spec: ScalableApiSpec, purse: Purse | None, mind: Mind, hands: Hands) -> None:
    """The budget's line goes on in the record when its rate or period changed; without a budget it ends."""
    line = purse.line if purse and spec.budget else None
    record = await known(api, mind, hands)
    if record.active is not None and line is not record.budget:
        await keep(api, mind, record, replace(record, budget=line), hands)


async def known(api: Api, mind: Mind, hands: Hands) -> Record:
    """The record, read when it is not known."""
    return mind.record or await hands.backend.read_record(api) or Record()


async def keep(api: Api, mind: Mind, before: Record, after: Record, hands: Hands) -> bool:
    """Store the record if it changed; False when it could not be: then nothing is pushed."""
    if after is before:
        mind.record = before
        return True
    outcome = await hands.backend.write_record(api, after, before.seen)
    mind.record = replace(after, seen=outcome.seen) if isinstance(outcome, Done) else None
    if not isinstance(outcome, Done | Conflict):
        log.warning("record not written", object=api.name, outcome=str(outcome))
    return mind.record is not None
