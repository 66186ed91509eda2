"""What pydantic found wrong, as sentences that name the field, what was expected there and the nearest name.

pydantic's own messages speak of Python types and repeat an address of its website; ours go to an operator's
terminal (E106) and into a 422's `errors`. Callers: `schema.tiers`, `schema.scalable_api`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from services.schema.documents import Path
from services.schema.rules import BROKEN

_FOLLOW_UPS: Final = frozenset({"default_factory_not_called"})
"""What only repeats that an earlier field of the same object was wrong; so does a list's error beside an item's."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One refused value: its path, a sentence, what was expected there, the name probably meant ('' when none)."""

    path: Path
    message: str
    expected: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        wanted = f"; expected {self.expected}" if self.expected else ""
        return f"{dotted(self.path)}: {self.message}{wanted}{hint}"


def dotted(path: Path) -> str:
    """`('spec', 'tiers', 0)` → `spec.tiers[0]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "document"


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """All of pydantic's findings in the order of the fields."""
    found = error.errors(include_url=False)
    deeper = {tuple(item["loc"][:length]) for item in found for length in range(len(item["loc"]))}
    return [
        _fault(item, model) for item in found if item["type"] not in _FOLLOW_UPS and tuple(item["loc"]) not in deeper
    ]


def nearest_name(name: str, names: Iterable[str]) -> str:
    """The allowed name that `name` was probably meant to be, or ''. Case makes no difference."""
    folded = {allowed.casefold(): allowed for allowed in names}
    close = get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def _fault(found: Any, model: type[BaseModel]) -> Fault:
    path: Path = tuple(found["loc"])
    kind, context, value = found["type"], found.get("ctx") or {}, found.get("input")
    if kind == "extra_forbidden":
        names = _names_at(model, path[:-1])
        return Fault(path, "is not a field here", _either(names), nearest_name(str(path[-1]), names))
    if kind == "missing":
        return Fault(path, "is missing", "a value: it has no default")
    if kind == "literal_error":
        names = [text.strip("'") for text in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return Fault(path, f"{_shown(value)} is not one of its values", _either(names), nearest_name(str(value), names))
    if kind == "value_error":
        return Fault(path, str(context["error"]))
    if kind == BROKEN:
        return Fault((*path, *filter(None, context["field"].split("."))), context["said"])
    return Fault(path, f"{_shown(value)} is refused", _expected(kind, context))


_BOUNDS: Final[Mapping[str, str]] = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text like {pattern}",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def _expected(kind: str, context: Mapping[str, Any]) -> str:
    return _BOUNDS.get(kind, kind.replace("_", " ")).format(**context)


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _either(names: Sequence[str]) -> str:
    return "one of " + ", ".join(names)


def _names_at(model: type[BaseModel], path: Path) -> list[str]:
    """The names a document may use in the object at `path`, found by walking the models' annotations."""
    here: type[BaseModel] | None = model
    for step in path:
        if isinstance(step, int) or here is None:
            continue
        field = next((f for name, f in here.model_fields.items() if (f.alias or name) == step), None)
        here = _model_in(field.annotation) if field else None
    return [] if here is None else [f.alias or name for name, f in here.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
