"""Durations, targets, instants and names as a manifest writes them: text that is checked and kept as it was written.

`duration_ms` and `target_milli` read them. `Between` and `TARGET` say the same to pydantic and to the CRD.
Callers: the models of `schema`, the controller.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import core_schema

_UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_PARTS: Final = re.compile(r"([0-9]+)(ms|s|m|h)")
DURATION: Final = r"^([0-9]{1,6}(ms|s|m|h)){1,4}$"
MAX_DURATION: Final = 16
"""Characters: what the longest useful one needs, and little enough for the API server's cost estimate."""
DECIMAL: Final = r"^[0-9]{1,9}(\.[0-9]{1,3})?$"
_DURATION: Final = re.compile(DURATION.strip("^$"))
_DECIMAL: Final = re.compile(DECIMAL.strip("^$"))
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(Z|[+-][0-9]{2}:[0-9]{2})")

Bool = Annotated[bool, Field(strict=True)]
LABEL: Final = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
Label = Annotated[str, Field(pattern=LABEL, max_length=63)]
ShortLabel = Annotated[str, Field(pattern=LABEL, max_length=32)]


def duration_ms(text: str) -> int:
    """`1m30s` → 90 000. The text has passed the model's pattern."""
    return sum(int(count) * _UNITS_MS[unit] for count, unit in _PARTS.findall(text))


def target_milli(target: int | str) -> int:
    """`20` → 20 000, `"1.5"` → 1500: loads are compared in thousandths."""
    whole, _, fraction = str(target).partition(".")
    return int(whole) * 1000 + int(fraction.ljust(3, "0") or 0)


@dataclass(frozen=True, slots=True)
class Between:
    """A duration from `low` to `high`, both allowed."""

    low: str
    high: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, _: core_schema.CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        bounds = f"self >= duration('{self.low}') && self <= duration('{self.high}')"
        return {
            "type": "string",
            "format": "duration",
            "pattern": DURATION,
            "maxLength": MAX_DURATION,
            "x-kubernetes-validations": [{"rule": bounds, "message": f"is outside {self.low}…{self.high}"}],
        }

    def _check(self, text: str) -> str:  # R15
        if len(text) > MAX_DURATION or not _DURATION.fullmatch(text):
            raise ValueError(f"{text!r} is no duration; write like 500ms, 30s, 1m30s, 2h")
        if not duration_ms(self.low) <= duration_ms(text) <= duration_ms(self.high):
            raise ValueError(f"{text} is outside {self.low}…{self.high}")
        return text


def _target(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        hint = f'; quote it: "{value}"' if isinstance(value, float) else ""
        raise ValueError(f"{value!r} is neither a whole number nor quoted text{hint}")  # noqa: TRY004  # pydantic's way
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise ValueError(f"{value!r} is no number of at most 9 digits and 3 decimals")
    if not 0 < target_milli(value) <= 999_999_999_999:
        raise ValueError(f"{value} is outside 0.001…999999999.999")
    return value


TARGET: Final[dict[str, Any]] = {
    "x-kubernetes-int-or-string": True,
    "pattern": DECIMAL,
    "maxLength": 13,
    "x-kubernetes-validations": [
        {
            "rule": "type(self) == int ? self > 0 && self <= 999999999 : double(self) > 0.0",
            "message": "is outside 0.001…999999999.999",
        }
    ],
}
Target = Annotated[Any, AfterValidator(_target), WithJsonSchema(TARGET)]  # R5
"""A whole number, or quoted with up to three decimals: a bare 1.5 would be a float, and those don't compare exactly."""


def _instant(text: str) -> str:
    if not _INSTANT.fullmatch(text) or not _in_the_calendar(text):
        raise ValueError(f"{text!r} is no moment; write like 2026-12-01T06:00:00Z")
    return text


def _in_the_calendar(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


Instant = Annotated[
    str, AfterValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 35})
]
