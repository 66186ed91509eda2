"""What a manifest asks for and this version does not act on, as sentences for `Accepted`'s message.

Such a field is valid and kept: another version, or a cluster's, may act on it. A line goes from here with the commit
that makes it work. Caller: controller.conditions.
"""

from __future__ import annotations

from services.schema.scalable_api import PATH_ORDER, ScalableApiSpec


def notices(spec: ScalableApiSpec) -> tuple[str, ...]:
    """One sentence for each, in the spec's order."""
    idle = [c.name for c in spec.components if c.name not in PATH_ORDER]
    return tuple(f"component {name}: this version runs no {name}; nothing is started for it" for name in idle)
