"""The tiers the api knows of: names may be written, ranks compared, day quotas shown (contract.md 5)."""

from __future__ import annotations

from typing import Final

from services.api.errors import Detail, Problem, invalid
from services.schema.tiers import TiersDocument

DAY_S: Final = 86_400
MINUTE_S: Final = 60
MINUTES_PER_DAY: Final = 1440


def rank(document: TiersDocument, name: str) -> int:
    """Place in the document's order, lowest first; a name it lacks counts as the default tier, as in the gateway."""
    names = [tier.name for tier in document.spec.tiers]
    return names.index(name) if name in names else names.index(document.spec.default_tier)


def unknown(document: TiersDocument, name: str, pointer: str) -> Problem | None:
    """400 for a tier that is not in the document: a row with it could never be enforced as written."""
    names = [tier.name for tier in document.spec.tiers]
    if name in names:
        return None
    return invalid(Detail(pointer, f"there is no tier {name!r}; there are {', '.join(names)}", "tier"))


def daily_limit(document: TiersDocument, name: str) -> int | None:
    """The day policy's quota, or 1440 times the minute quota; None for a tier with neither."""
    tier = document.spec.tiers[rank(document, name)]
    quotas = {p.window: p.quota for p in tier.policies if p.mode == "enforce"}
    if DAY_S in quotas:
        return quotas[DAY_S]
    return quotas[MINUTE_S] * MINUTES_PER_DAY if MINUTE_S in quotas else None
