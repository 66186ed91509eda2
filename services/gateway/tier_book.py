"""The tiers document as `authenticate` and `explain` read it: criticalities by tier name, the anonymous and the
default tier.

A tier a key or user names but the document lacks counts as the default one (`gateway_unknown_tier_total`): a renamed
tier must not lock its subscribers out. Swapped whole when a document comes into force.
"""

from __future__ import annotations

from services.core.criticality import CRITICALITIES
from services.schema.tiers import TiersDocument


class TierBook:
    def __init__(self) -> None:
        self._criticality: dict[str, int] = {}
        self.anonymous = "anonymous"
        self.default = "free"

    def use(self, document: TiersDocument) -> None:
        spec = document.spec
        self._criticality = {tier.name: CRITICALITIES.index(tier.criticality) for tier in spec.tiers}
        self.anonymous, self.default = spec.anonymous_tier, spec.default_tier

    def known(self, name: str) -> str:
        """The tier that holds for `name`."""
        return name if name in self._criticality else self.default

    def criticality(self, name: str) -> int:
        return self._criticality.get(name, self._criticality[self.default])
