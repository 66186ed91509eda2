"""The CustomResourceDefinition, from the models (operator.md §12): pydantic's JSON Schema made structural.

What the API server asks beyond JSON Schema is checked here, so that a field without a bound or a description never
becomes a CRD: its CEL rules have a cost budget that unbounded text would exceed. Status fields have no defaults: one
writer writes it whole, and a default would be a write nobody made.

Caller: `./dev generate crd`, which writes manifests/crds/scalableapis.yaml; docs/reference is made of the same schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from services.schema.rules import rules_of
from services.schema.scalable_api import ScalableApi, ScalableApiSpec
from services.schema.status import Status

Schema = dict[str, Any]

GROUP: Final = "scalableapi.io"
PLURAL: Final = "scalableapis"
SCHEMA_VERSION: Final = 1
"""Raised with every change of the schema: an operator tells by it that the CRD is older than its code."""

_READY: Final = '.status.conditions[?(@.type=="Ready")]'
COLUMNS: Final = (
    ("Ready", "string", f"{_READY}.status", 0),
    ("Mode", "string", ".spec.mode", 0),
    ("Reason", "string", f"{_READY}.reason", 0),
    ("Gateway", "string", ".status.summary.gateway", 0),
    ("Balancer", "string", ".status.summary.balancer", 0),
    ("Api", "string", ".status.summary.api", 0),
    ("Tiers", "string", ".status.summary.tiers", 0),
    ("Circuits", "string", ".status.summary.circuits", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Worker", "string", ".status.summary.worker", 1),
    ("Paused", "string", ".status.summary.paused", 1),
    ("Last-Scale", "date", ".status.lastScaleTime", 1),
    ("Budget", "string", ".status.summary.budget", 1),
    ("Message", "string", f"{_READY}.message", 1),
)
"""Name, type, path, priority (1 = only with -o wide)."""

_KEPT: Final = (
    *("description", "type", "format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum"),
    *("minItems", "maxItems", "default", "required"),
    *("x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations"),
)
"""What a structural schema has in common with JSON Schema, in the order it is written."""
_DROPPED: Final = frozenset({"title", "additionalProperties", "$defs"})
_NESTED: Final = frozenset({"properties", "items"})
_BOUNDS: Final = {
    "string": ("maxLength",),
    "array": ("maxItems",),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
}


class SchemaError(ValueError):
    """A model says something that cannot stand in the CRD; the message names the field and what is missing."""


class _Generator(GenerateJsonSchema):
    """pydantic's own, with each model's rules, and with defaults as a user would write them."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        rules = [_validation(rule.cel, rule.message, rule.field) for rule in rules_of(schema["cls"])]
        return made | {"x-kubernetes-validations": rules} if rules else made

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", by_alias=True, exclude_unset=True)
        if isinstance(dft, tuple):
            return [self.encode_default(entry) for entry in dft]
        return super().encode_default(dft)


def _validation(cel: str, message: str, field: str) -> dict[str, str]:
    return {"rule": cel, "message": message} | ({"fieldPath": f".{field}"} if field else {})


def structural(model: type[BaseModel], *, defaults: bool = True) -> Schema:
    """The structural schema of `model`; raises SchemaError."""
    made = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return _node(made, made.get("$defs", {}), model.__name__, defaults=defaults)


def _node(node: Mapping[str, Any], definitions: Mapping[str, Any], where: str, *, defaults: bool) -> Schema:
    node = _resolved(node, definitions)
    unknown = set(node) - set(_KEPT) - _DROPPED - _NESTED
    if unknown:
        raise SchemaError(f"{where}: {', '.join(sorted(unknown))} has no place in a structural schema")
    made = _values(node, defaults=defaults)
    if "properties" in node:
        made["properties"] = {
            name: _property(value, definitions, f"{where}.{name}", defaults=defaults)
            for name, value in node["properties"].items()
        }
    if "items" in node:
        made["items"] = _node(node["items"], definitions, f"{where}[]", defaults=defaults)
        made.setdefault("x-kubernetes-list-type", "atomic")
        _need_keys(made, where)
    if "x-kubernetes-validations" in made and "default" in made:
        made["default"] = _filled(made["default"], made)
    _need_bounds(made, where)
    return made


def _filled(value: Any, node: Mapping[str, Any]) -> Any:
    """`value` with the defaults below it. A default is judged by its rules as it stands, before anything is filled in."""
    if isinstance(value, list):
        return [_filled(entry, node["items"]) for entry in value]
    if not isinstance(value, dict):
        return value
    fields = node["properties"]
    unsaid = {name: field["default"] for name, field in fields.items() if name not in value and "default" in field}
    return {name: _filled(each, fields[name]) for name, each in {**value, **unsaid}.items()}


def _values(node: Mapping[str, Any], *, defaults: bool) -> Schema:
    """All but the children. A default that says nothing (null, an empty list) is none."""
    made: Schema = {name: node[name] for name in _KEPT if name in node}
    if not defaults or made.get("default") in (None, []):
        made.pop("default", None)
    rules = "x-kubernetes-validations"
    if rules in made:
        order = ("rule", "message", "fieldPath")
        made[rules] = [{part: found[part] for part in order if part in found} for found in made[rules]]
    return made


def _property(node: Mapping[str, Any], definitions: Mapping[str, Any], where: str, *, defaults: bool) -> Schema:
    made = _node(node, definitions, where, defaults=defaults)
    if "description" not in made:
        raise SchemaError(f"{where}: has no description")
    return made


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """References inlined; `X | None` is X that may be absent."""
    if "anyOf" in node:
        (kind,) = (choice for choice in node["anyOf"] if choice != {"type": "null"})
        node = kind | {name: value for name, value in node.items() if name != "anyOf"}
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        node = target | {name: value for name, value in node.items() if name != "$ref"}
    if "const" in node:
        node = {**node, "enum": [node["const"]]}
    described = {"description": " ".join(node["description"].split())} if "description" in node else {}
    return {name: value for name, value in node.items() if name != "const"} | described


def _need_keys(node: Mapping[str, Any], where: str) -> None:
    missing = set(node.get("x-kubernetes-list-map-keys", ())) - set(node["items"].get("required", ()))
    if missing:
        raise SchemaError(f"{where}: its key {', '.join(sorted(missing))} is not required")


def _need_bounds(node: Mapping[str, Any], where: str) -> None:
    if "enum" in node:
        return
    kind = "string" if node.get("x-kubernetes-int-or-string") else node.get("type")
    missing = [bound for bound in _BOUNDS.get(str(kind), ()) if bound not in node]
    if missing:
        raise SchemaError(f"{where}: {kind} without {', '.join(missing)}")


def _root() -> Schema:
    rules = [_validation(rule.cel, rule.message, rule.field) for rule in rules_of(ScalableApi)]
    return {
        "description": ScalableApi.__doc__,
        "type": "object",
        "required": ["spec"],
        "x-kubernetes-validations": rules,
        "properties": {
            "apiVersion": {"description": "scalableapi.io/v1", "type": "string"},
            "kind": {"description": "ScalableApi", "type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},  # R1 names the field
            "spec": structural(ScalableApiSpec),
            "status": structural(Status, defaults=False),
        },
    }


def _version() -> Schema:
    replicas = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    return {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}, "scale": {**replicas, "labelSelectorPath": ".status.selector"}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "priority": priority}
            for name, kind, path, priority in COLUMNS
        ],
        "schema": {"openAPIV3Schema": _root()},
    }


def crd() -> Schema:
    """The whole object, made of plain values that share nothing."""
    names = {"kind": "ScalableApi", "listKind": "ScalableApiList", "plural": PLURAL, "singular": "scalableapi"}
    found: Schema = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{PLURAL}.{GROUP}",
            "annotations": {f"{GROUP}/schema-version": str(SCHEMA_VERSION)},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {**names, "shortNames": ["sapi"], "categories": ["all", "scalable"]},
            "versions": [_version()],
        },
    }
    copied: Schema = json.loads(json.dumps(found))
    return copied
