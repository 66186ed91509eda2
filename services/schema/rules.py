"""A rule over several fields, declared once: checked here by pydantic, there by the API server's CEL.

`@rule` makes a validator of a predicate and keeps the CEL expression, the sentence and the field beside it; the CRD's
generator reads them back with `rules_of`. `Keyed` does the same for a list whose entries have a name each. What only
the API server can see (a change against the object before) stands in the model's `TRANSITIONS`.

The sentence is a template over the model, `minReplicas {self.min_replicas} is above …`; CEL's is the same without the
values. Callers: the models of `schema`, `schema.crd`, `schema.faults` (the path of a broken rule).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import PydanticCustomError, core_schema

BROKEN: Final = "rule"
"""The type of pydantic's error when a rule is broken; its context has `said` and `field`."""
_VALUE: Final = re.compile(r" \{self[^}]*\}")


@dataclass(frozen=True, slots=True)
class Rule:
    """`cel` must hold; `field` is what to look at first, as a path below the model (`panic.window`), '' = all of it."""

    number: str
    cel: str
    template: str
    field: str = ""

    @property
    def message(self) -> str:
        """The sentence without values."""
        return _VALUE.sub("", self.template)

    def said(self, model: BaseModel) -> str:
        """The sentence with the model's values."""
        return self.template.format(self=model)


def rule(number: str, cel: str, template: str, field: str = "") -> Callable[[Callable[[Any], bool]], Any]:
    """A method that answers whether the rule `number` of the design holds, as a validator of its model."""
    declared = Rule(number, cel, template, field)

    def declare(holds: Callable[[Any], bool]) -> Any:
        def check(self: Any) -> Any:
            if not holds(self):
                raise PydanticCustomError(BROKEN, "{said}", {"said": declared.said(self), "field": field})
            return self

        check.rule = declared  # type: ignore[attr-defined]  # read back by rules_of
        return model_validator(mode="after")(check)

    return declare


def rules_of(model: type[BaseModel]) -> tuple[Rule, ...]:
    """What was declared on `model` and its bases, in that order; the transitions last."""
    validators = model.__pydantic_decorators__.model_validators.values()
    declared = tuple(found for v in validators if isinstance(found := getattr(v.func, "rule", None), Rule))
    return (*declared, *getattr(model, "TRANSITIONS", ()))


@dataclass(frozen=True, slots=True)
class Keyed:
    """A list in which each entry's `key` stands once; for the API server a list-map."""

    key: str = "name"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._once, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}

    def _once(self, entries: tuple[Any, ...]) -> tuple[Any, ...]:
        seen: set[str] = set()
        for entry in entries:
            name = getattr(entry, self.key)
            if name in seen:
                raise ValueError(f"{self.key} {name!r} stands twice; remove or rename one")
            seen.add(name)
        return entries
