"""`--wait`: until nothing is lacking any more. What is still lacking is told on stderr as it changes; an object that only
a person can help (`Stalled`) ends the wait at once, as conditions of that name mean everywhere.

Callers: apply, status, tiers.
"""

from __future__ import annotations

from collections.abc import Callable

from services.cli.errors import DONE, FAILED, WAIT_RAN_OUT
from services.cli.output import clean, tell
from services.cli.targets.target import Target
from services.schema.status import Condition, StoredObject

Lacking = Callable[[StoredObject], str]
"""What an object still lacks, in words; '' when it is there."""


def ready(found: StoredObject) -> Condition:
    return found.status.condition("Ready") or Condition(type="Ready", status="Unknown", reason="NotObserved")


def beyond_help(found: StoredObject) -> str:
    """Why only a person can help, if the controller has said so of this spec."""
    stalled = found.status.condition("Stalled")
    if not observed(found) or stalled is None or stalled.status != "True":
        return ""
    return f"{stalled.reason}: {stalled.message}"


def wait(
    target: Target, name: str, wanted: str, lacking: Lacking, within_s: float, *, hopeless: Lacking = beyond_help
) -> int:
    """0 when `wanted` is so, 6 when the time ran out, 1 when it cannot become so: `hopeless` tells why."""
    last = ""
    tell(f"waiting up to {within_s:g} s until scalableapi/{name} is {wanted}")
    for found in target.watch(name, within_s):
        if not (now := lacking(found)):
            tell(f"scalableapi/{name} is {wanted}")
            return DONE
        if now != last:
            tell(f"  {clean(now)}")
        last = now
        if why := hopeless(found):
            tell(f"not {wanted}, and waiting will not help: {clean(why)}", "see scalable-api status -v")
            return FAILED
    tell(
        f"not {wanted} within {within_s:g} s: {clean(last) or 'nothing was heard of it'}", "see scalable-api status -v"
    )
    return WAIT_RAN_OUT


def observed(found: StoredObject) -> bool:
    """Whether the status is of this spec."""
    return found.status.observed_generation == found.metadata.generation


def not_ready(found: StoredObject) -> str:
    """Lacking for Ready."""
    if not found.status.conditions:
        return "no controller has looked at it yet"
    if not observed(found):
        return "the controller has not seen this spec yet"
    condition = ready(found)
    return "" if condition.status == "True" else f"{condition.reason}: {condition.message}"


def too_few(found: StoredObject) -> str:
    """Lacking for every component having what its floor, or its count in Manual, asks for: Ready begins below that."""
    floors = [(c, c.desired if c.mode == "Manual" else min(c.min, c.desired)) for c in found.status.components]
    return ", ".join(f"{c.name} has {c.ready} ready of {floor}" for c, floor in floors if c.ready < floor)


def not_enforced(found: StoredObject) -> str:
    """Lacking for every live gateway and balancer enforcing the document in force."""
    pods = found.status.tiers.pods
    if pods.total == 0:
        return "no gateway or balancer is there to enforce the tiers"
    return "" if pods.acked == pods.total else f"{pods.acked} of {pods.total} processes enforce the tiers"
