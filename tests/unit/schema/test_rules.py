"""A rule declared once: checked by pydantic, read back for the CRD."""

from __future__ import annotations

from typing import Annotated, ClassVar

import pytest
from pydantic import ValidationError

from services.schema.rules import Keyed, Rule, rule, rules_of
from services.schema.tiers import Strict


class Span(Strict):
    TRANSITIONS: ClassVar = (Rule("R2", "self.low == oldSelf.low", "low stays"),)

    low: int = 0
    high: int = 9

    @rule("R1", "self.low <= self.high", "low {self.low} is above high {self.high}; lower the first", "low")
    def _ordered(self) -> bool:
        return self.low <= self.high


class Entry(Strict):
    key: str


class Entries(Strict):
    entries: Annotated[tuple[Entry, ...], Keyed("key")] = ()


def test_a_broken_rule_says_the_values():
    """The sentence with values, and the field to look at, travel in the error."""
    with pytest.raises(ValidationError) as error:
        Span(low=3, high=2)
    (found,) = error.value.errors()
    assert (found["type"], found["msg"]) == ("rule", "low 3 is above high 2; lower the first")
    assert found["ctx"]["field"] == "low"
    assert Span(low=2, high=2).low == 2


def test_rules_are_read_back():
    """For the CRD without values; what only the API server sees comes last."""
    ordered, stays = rules_of(Span)
    assert (ordered.number, ordered.cel, ordered.field) == ("R1", "self.low <= self.high", "low")
    assert ordered.message == "low is above high; lower the first"
    assert stays.cel == "self.low == oldSelf.low"
    assert rules_of(Entry) == ()


def test_a_key_stands_once():
    """The second entry of a name is refused; the schema says the same as a list-map."""
    Entries.model_validate({"entries": [{"key": "a"}, {"key": "b"}]})
    with pytest.raises(ValidationError, match="key 'a' stands twice"):
        Entries.model_validate({"entries": [{"key": "a"}, {"key": "a"}]})
    schema = Entries.model_json_schema()["properties"]["entries"]
    assert (schema["x-kubernetes-list-type"], schema["x-kubernetes-list-map-keys"]) == ("map", ["key"])
