"""Durations, targets and instants as text."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from services.schema.quantities import Between, Instant, Target, duration_ms, target_milli

SHORT: TypeAdapter[str] = TypeAdapter(Annotated[str, Between("2s", "1m")])


def test_units():
    """Durations in ms, targets in thousandths."""
    assert [duration_ms(text) for text in ("1m30s", "500ms", "2h", "0s")] == [90_000, 500, 7_200_000, 0]
    assert [target_milli(value) for value in (20, "1.5", "0.001")] == [20_000, 1500, 1]


def test_a_duration_keeps_its_text():
    """Checked, not converted; its schema has the same bounds as a CEL rule."""
    assert SHORT.validate_python("60s") == "60s"
    with pytest.raises(ValidationError, match="1m1s is outside 2s…1m"):
        SHORT.validate_python("1m1s")
    with pytest.raises(ValidationError, match="is no duration; write like 500ms"):
        SHORT.validate_python("1,5s")
    (rule,) = SHORT.json_schema()["x-kubernetes-validations"]
    assert rule == {"rule": "self >= duration('2s') && self <= duration('1m')", "message": "is outside 2s…1m"}


def test_targets_and_instants_keep_their_text():
    """What the manifest table has no row for: a leap day, and a number that stays one."""
    assert TypeAdapter(Target).validate_python(20) == 20
    instant: TypeAdapter[str] = TypeAdapter(Instant)
    assert instant.validate_python("2028-02-29T23:59:59Z") == "2028-02-29T23:59:59Z"
    with pytest.raises(ValidationError, match="is no moment"):
        instant.validate_python("2027-02-29T00:00:00Z")
