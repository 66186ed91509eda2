"""`enforcement: Audit`: the active document with what the spec would change beside it, counted and refusing nobody.

Each policy of a tier that is new or changed becomes `<name>-next` in mode shadow; policies that the spec itself has in
mode shadow or off are the spec's. Everything else stays as it is in force: routes' own policies and costs cannot be
had twice, so they wait for Enforce. Spec names never end in `-next` (rule R16), so the next document can be told from
the last one's shadows. Caller: controller.rotation.
"""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from services.schema.tiers import Policy, Tier, TiersSpec

SUFFIX: Final = "-next"


def shadowed(active: TiersSpec, wanted: TiersSpec) -> TiersSpec:
    """The document of an audit; equal to `wanted` when there is nothing left to audit."""
    asked = {tier.name: tier for tier in wanted.tiers}
    made = active.model_copy(update={"tiers": tuple(_tier(tier, asked.get(tier.name)) for tier in active.tiers)})
    try:
        return TiersSpec.model_validate(made.model_dump(exclude_none=True))
    except ValidationError:  # a cost in force above a quota that is asked for: the two cannot stand side by side
        return active


def names(document: TiersSpec) -> list[str]:
    """The policies that are audited."""
    return [p.name.removesuffix(SUFFIX) for t in document.tiers for p in t.policies if p.name.endswith(SUFFIX)]


def _tier(active: Tier, wanted: Tier | None) -> Tier:
    enforced = {policy.name: policy for policy in active.policies if policy.mode == "enforce"}
    policies: list[Policy] = []
    for policy in wanted.policies if wanted else ():
        policies += _side_by_side(enforced.pop(policy.name, None), policy)
    own = [p for p in active.policies if p.mode != "enforce" and not p.name.endswith(SUFFIX)] if not wanted else []
    return active.model_copy(update={"policies": (*policies, *enforced.values(), *own)})


def _side_by_side(active: Policy | None, wanted: Policy) -> list[Policy]:
    if wanted.mode != "enforce" or active == wanted:
        return [active or wanted]
    shadow = wanted.model_copy(update={"name": wanted.name + SUFFIX, "mode": "shadow"})
    return [active, shadow] if active else [shadow]
