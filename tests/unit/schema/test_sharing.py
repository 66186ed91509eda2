"""Equal parts are held once."""

from __future__ import annotations

from services.schema.scalable_api import ScalableApiSpec
from services.schema.sharing import shared


def spec(maximum: int) -> ScalableApiSpec:
    return ScalableApiSpec.model_validate(
        {"components": [{"name": "api", "maxReplicas": maximum}, {"name": "gateway"}]}
    )


def test_equal_ones_are_one() -> None:
    """As long as somebody holds it."""
    first = shared(spec(7))
    assert shared(spec(7)) is first
    assert first == spec(7)


def test_different_ones_share_what_is_equal() -> None:
    """A part that differs, and all that contains it, stays its own."""
    first, second = shared(spec(7)), shared(spec(8))
    assert first is not second
    assert [part.max_replicas for part in second.components] == [8, 10]
    assert first.components[0].behavior is second.components[0].behavior
    assert first.components[1] is second.components[1]
    assert first.tiers is second.tiers
