"""pydantic's findings as sentences for people."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from services.schema.faults import dotted, faults_of, nearest_name
from services.schema.tiers import Int, Strict


class Leaf(Strict):
    kind: Literal["one", "two"] = "one"
    max_size: Int = Field(default=1, ge=1, le=9)

    @model_validator(mode="after")
    def _odd(self):
        if self.max_size == 8:
            raise ValueError("8 is not liked; write 7")
        return self


class Root(Strict):
    leaves: tuple[Leaf, ...] = Field(min_length=1)
    extra: Leaf | None = None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "leaves: is missing; expected a value: it has no default"),
        ({"leaves": []}, "leaves: [] is refused; expected at least 1 entries"),
        ({"leaves": [{"maxsize": 2}]},
         "leaves[0].maxsize: is not a field here; expected one of kind, maxSize; did you mean 'maxSize'?"),
        ({"leaves": [{"kind": "tow"}]},
         "leaves[0].kind: 'tow' is not one of its values; expected one of one, two; did you mean 'two'?"),
        ({"leaves": [{"maxSize": True}]}, "leaves[0].maxSize: true is refused; expected a whole number"),
        ({"leaves": [{"maxSize": None}]}, "leaves[0].maxSize: null is refused; expected a whole number"),
        ({"leaves": [{"maxSize": 10}]}, "leaves[0].maxSize: 10 is refused; expected at most 9"),
        ({"leaves": [{"maxSize": 8}]}, "leaves[0]: 8 is not liked; write 7"),
        ({"leaves": [{}], "extra": {"x": 1}}, "extra.x: is not a field here; expected one of kind, maxSize"),
        ({"leaves": [{}], "more": {"x": 1}}, "more: is not a field here; expected one of leaves, extra"),
        ({"leaves": ["x" * 99]}, "leaves[0]: '" + "x" * 56 + "… is refused; expected an object"),
    ],
)  # fmt: skip
def test_sentences(value, said):
    """The path as it is written, what is wrong, what was expected, the nearest name."""
    with pytest.raises(ValidationError) as error:
        Root.model_validate(value, by_alias=True, by_name=False)
    assert [str(fault) for fault in faults_of(error.value, Root)] == [said]


def test_names():
    """A document without a path is called so; case makes no difference; nothing near is ''."""
    assert dotted(()) == "document"
    assert nearest_name("minreplicas", ["maxReplicas", "minReplicas"]) == "minReplicas"
    assert not nearest_name("zebra", ["minReplicas"])
