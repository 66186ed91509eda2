"""The CRD: what the generator makes of the models, what it refuses, and the gate against incompatible changes.

The API server's own judgement (structural, CEL within its budget) is asked in tests/cluster, over the same table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
import yaml
from pydantic import Field

from services.schema.crd import SchemaError, crd, structural
from services.schema.rules import Keyed, rule
from services.schema.scalable_api import ScalableApi, load_manifest
from services.schema.tiers import Strict
from tests.harness.crd_cases import CASES, ROOMY, put, steps
from tests.harness.crd_compat import GOLDEN, bare, breaks

ROOT = Path(__file__).resolve().parents[3]
CRD = crd()
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC = SCHEMA["properties"]["spec"]


# ------------------------------------------------------------------------------------------------ the table, by schema


def strict(node: dict[str, Any]) -> dict[str, Any]:
    """As JSON Schema: unknown fields refused, as field validation Strict does; int-or-string spelled out."""
    made = {name: value for name, value in node.items() if name not in ("properties", "items", "default")}
    if "properties" in node:
        made["properties"] = {name: strict(value) for name, value in node["properties"].items()}
        made["additionalProperties"] = False
    if "items" in node:
        made["items"] = strict(node["items"])
    if node.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    return made


def once(_: Any, keys: list[str], entries: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """x-kubernetes-list-map-keys: each key once."""
    names = [tuple(entry.get(key) for key in keys) for entry in entries] if isinstance(entries, list) else []
    if len(set(names)) < len(names):
        yield jsonschema.ValidationError("Duplicate value")


BY_SCHEMA = jsonschema.validators.extend(jsonschema.Draft4Validator, {"x-kubernetes-list-map-keys": once})
VALIDATOR = BY_SCHEMA({**strict(SPEC), "definitions": {}})
# Checked by the API server's formats and by CEL, which a JSON Schema validator does not know.
BEYOND = ("rotation.at ",)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.by == "both" and not case.rule and not case.name.startswith(BEYOND)],
    ids=lambda case: case.name,
)
def test_the_table_by_the_schema_alone(case):
    """Each row that no rule decides, the generated schema decides as the models do, at the same field."""
    found = list(VALIDATOR.iter_errors(case.manifest["spec"]))
    assert (found == []) == case.accepted
    where = steps(case.field)[1:] if case.field else []
    assert case.accepted or any([*error.absolute_path] == where[: len(error.absolute_path)] for error in found)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.by == "both" and case.rule], ids=lambda case: case.name
)
def test_a_rules_row_is_told_by_cel(case):
    """A row with a rule has its words in a CEL message of the schema; R1 stands at the root."""
    assert any(case.said in message for message in messages(SCHEMA))


def messages(node: dict[str, Any]) -> Iterator[str]:
    yield from (rule["message"] for rule in node.get("x-kubernetes-validations", ()))
    for child in (*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])):
        yield from messages(child)


# ------------------------------------------------------------------------------------------------------- as a whole


def test_defaults_are_filled_in_as_the_models_do():
    """A manifest with every default of the CRD written out is the same object to the models; filling in twice changes nothing."""
    short = {**ROOMY, "spec": {"components": [{"name": "api"}]}}
    filled = deepcopy(short)
    fill(SPEC, filled["spec"])
    again = deepcopy(filled)
    fill(SPEC, again["spec"])
    assert again == filled
    assert not list(VALIDATOR.iter_errors(filled["spec"]))
    assert load_manifest(json.dumps(filled).encode()) == load_manifest(json.dumps(short).encode())


def fill(schema: dict[str, Any], value: Any) -> None:
    """Defaulting as API servers do it: outside in."""
    if isinstance(value, list):
        for entry in value:
            fill(schema["items"], entry)
    if not isinstance(value, dict):
        return
    for name, field in schema.get("properties", {}).items():
        if name not in value and "default" in field:
            value[name] = deepcopy(field["default"])
        if name in value:
            fill(field, value[name])


def test_names_and_subresources():
    """operator.md's head."""
    spec, version = CRD["spec"], CRD["spec"]["versions"][0]
    assert CRD["metadata"]["name"] == "scalableapis.scalableapi.io"
    assert CRD["metadata"]["annotations"] == {"scalableapi.io/schema-version": "1"}
    assert (spec["group"], spec["scope"], version["name"]) == ("scalableapi.io", "Namespaced", "v1")
    assert (spec["names"]["shortNames"], spec["names"]["categories"]) == (["sapi"], ["all", "scalable"])
    assert version["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }


def test_columns():
    """operator.md §2's table: nine cells, five more with -o wide."""
    columns = CRD["spec"]["versions"][0]["additionalPrinterColumns"]
    narrow = [column["name"] for column in columns if column["priority"] == 0]
    assert narrow == ["Ready", "Mode", "Reason", "Gateway", "Balancer", "Api", "Tiers", "Circuits", "Age"]
    assert [c["name"] for c in columns if c["priority"]] == ["Worker", "Paused", "Last-Scale", "Budget", "Message"]
    for column in columns:
        way = column["jsonPath"].split("[")[0].strip(".").split(".")
        node = SCHEMA
        for step in way if way[0] != "metadata" else ():
            node = node["properties"][step]


def test_status_has_no_defaults():
    """One writer writes it whole: a default would be a write nobody made."""
    assert "'default'" not in str(SCHEMA["properties"]["status"])


# ------------------------------------------------------------------------------------------------ what is refused


class Inner(Strict):
    """An inner one."""

    size: int = Field(1, ge=0, le=9, description="How much.")


def test_a_model_becomes_structural():
    """References inlined, `| None` absent, `const` an enum, other keywords gone, rules and keys kept."""

    class Outer(Strict):
        """An outer one."""

        kind: Literal["One"] = Field("One", description="What it is.")
        inner: Inner | None = Field(None, description="Its inner one.")
        more: tuple[Annotated[int, Field(ge=0, le=1)], ...] = Field((), max_length=2, description="More.")

        @rule("R1", "has(self.inner)", "inner {self.inner} is missing", "inner")
        def _inner(self) -> bool:
            return self.inner is not None

    size = {"description": "How much.", "type": "integer", "minimum": 0, "maximum": 9, "default": 1}
    assert structural(Outer) == {
        "description": "An outer one.",
        "type": "object",
        "x-kubernetes-validations": [{"rule": "has(self.inner)", "message": "inner is missing", "fieldPath": ".inner"}],
        "properties": {
            "kind": {"description": "What it is.", "type": "string", "enum": ["One"], "default": "One"},
            "inner": {"description": "Its inner one.", "type": "object", "properties": {"size": size}},
            "more": {
                "description": "More.",
                "type": "array",
                "maxItems": 2,
                "x-kubernetes-list-type": "atomic",
                "items": {"type": "integer", "minimum": 0, "maximum": 1},
            },
        },
    }


@pytest.mark.parametrize(
    ("annotation", "field", "said"),
    [
        (str, Field(description="x"), "Bad.field: string without maxLength"),
        (int, Field(ge=0, description="x"), "Bad.field: integer without maximum"),
        (tuple[bool, ...], Field(description="x"), "Bad.field: array without maxItems"),
        (bool, Field(), "Bad.field: has no description"),
        (int, Field(gt=0, le=9, description="x"), "Bad.field: exclusiveMinimum has no place"),
        (
            Annotated[tuple[Inner, ...], Field(max_length=1), Keyed("size")],
            Field(description="x"),
            "its key size is not required",
        ),
    ],
)
def test_what_cannot_be_structural_is_refused(annotation, field, said):
    """Unbounded, undescribed, unkeyed: the generator fails instead of the API server."""
    bad = type("Bad", (Strict,), {"__annotations__": {"field": annotation}, "field": field, "__module__": __name__})
    with pytest.raises(SchemaError, match=said.replace("[", r"\[")):
        structural(bad)


# ----------------------------------------------------------------------------------------------------- the gate


@pytest.mark.parametrize("golden", sorted((ROOT / GOLDEN).glob("*.yaml")), ids=lambda path: path.stem)
def test_compatible_with_each_release(golden):
    """Objects, clients and operators of that release live with today's CRD. A wanted break of an unreleased golden:
    `./dev generate golden` writes it anew; of a released one: never, v1 is additive."""
    assert breaks(yaml.safe_load(golden.read_text()), CRD) == []


def test_there_is_a_golden():
    """The gate has something to hold against."""
    assert list((ROOT / GOLDEN).glob("v1-*.yaml"))


def changed(path: str, **members: Any) -> dict[str, Any]:
    """Today's CRD with `members` in the schema node at `path`; None removes one."""
    made = deepcopy(CRD)
    node = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for step in filter(None, path.split(".")):
        node = node["items"] if step == "[]" else node["properties"][step]
    for name, value in members.items():
        key = {"rules": "x-kubernetes-validations", "keys": "x-kubernetes-list-map-keys"}.get(name, name)
        if value is None:
            del node[key]
        else:
            node[key] = value
    return made


def columns(turn: Any) -> dict[str, Any]:
    made = deepcopy(CRD)
    made["spec"]["versions"][0]["additionalPrinterColumns"] = turn(
        CRD["spec"]["versions"][0]["additionalPrinterColumns"]
    )
    return made


COMPONENT = "spec.components.[]"
FIELDS = SPEC["properties"]


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (changed("spec", properties={k: v for k, v in FIELDS.items() if k != "budget"}), ".spec.budget: is gone"),
        (changed("spec.mode", enum=["Auto", "Manual"]), ".spec.mode: no longer accepts Recommend"),
        (changed(f"{COMPONENT}.drain.timeout", enum=["60s"]), "no longer accepts other values"),
        (changed("spec.replicas", type="string"), ".spec.replicas: type changed"),
        (changed("spec.components", keys=["kind"]), ".spec.components: x-kubernetes-list-map-keys changed"),
        (changed("spec.mode", default="Manual"), ".spec.mode: default changed"),
        (changed(f"{COMPONENT}.maxReplicas", default=None), ".maxReplicas: default changed"),
        (changed("spec.replicas", default=1), ".spec.replicas: default changed"),
        (changed("spec", required=["components", "tiers"]), ".spec.tiers: is required now"),
        (changed("spec.replicas", minimum=1), ".spec.replicas: minimum is tighter"),
        (changed(f"{COMPONENT}.maxReplicas", maximum=999), ".maxReplicas: maximum is tighter"),
        (changed("spec.components", maxItems=3), ".spec.components: maxItems is tighter"),
        (changed("spec.tiers.routes", minItems=1), ".spec.tiers.routes: minItems is tighter"),
        (changed("spec.tiers.defaultTier", maxLength=31), ".spec.tiers.defaultTier: maxLength is tighter"),
        (changed("spec.tiers.defaultTier", pattern="^f"), ".spec.tiers.defaultTier: pattern changed"),
        (changed("spec.paused", rules=[{"rule": "self.tiers", "message": "x"}]), ".spec.paused: has a new rule self.tiers"),
        (changed("status.summary.api", maxLength=16), ".status.summary.api: maxLength is tighter"),
        (columns(lambda all_: [*all_[1:], all_[0]]), "additionalPrinterColumns: one is gone, changed or moved"),
        (columns(lambda all_: all_[:-1]), "additionalPrinterColumns: one is gone, changed or moved"),
        ({**CRD, "spec": {**CRD["spec"], "scope": "Cluster"}}, "spec.scope: changed"),
        ({**CRD, "spec": {**CRD["spec"], "names": {**CRD["spec"]["names"], "shortNames": []}}}, "names.shortNames: changed"),
    ],
)  # fmt: skip
def test_the_gate_refuses(new, said):
    """Each kind of incompatible change, made to today's CRD."""
    assert any(said in sentence for sentence in breaks(bare(CRD), bare(new))), breaks(bare(CRD), bare(new))


@pytest.mark.parametrize(
    "new",
    [
        CRD,
        changed("spec", description="Said better."),
        changed("spec", properties={**FIELDS, "extra": {"type": "string", "maxLength": 9, "default": "x"}}),
        changed(
            "spec.circuitBreaker",
            properties={**FIELDS["circuitBreaker"]["properties"], "extra": {"type": "boolean", "default": False}},
            default={**FIELDS["circuitBreaker"]["default"], "extra": False},
        ),
        changed("spec.mode", enum=["Auto", "Recommend", "Manual", "Dry"]),
        changed(f"{COMPONENT}.maxReplicas", maximum=2000),
        changed("spec.replicas", minimum=None),
        changed(f"{COMPONENT}", rules=None),
        columns(lambda all_: [*all_, {"name": "New", "type": "string", "jsonPath": ".spec.mode", "priority": 1}]),
    ],
)
def test_the_gate_lets_additions_pass(new):
    """New fields with defaults, new values, wider bounds, rules that go, columns at the end."""
    assert breaks(bare(CRD), bare(new)) == []


def test_bare_keeps_fields_named_description():
    """Only sentences go."""
    assert bare({"description": "x", "properties": {"description": {"description": "y", "type": "z"}}}) == {
        "properties": {"description": {"type": "z"}}
    }


def test_defaults_under_a_rule_are_written_out():
    """API servers judge a default by its rules before they fill it in: `circuitBreaker: {}` would be refused, `drain: {}` is not."""
    breaker = SPEC["properties"]["circuitBreaker"]
    assert breaker["default"] == {name: field["default"] for name, field in breaker["properties"].items()}
    assert SPEC["properties"]["tiers"]["default"]["rotation"]["strategy"] == "Immediate"
    assert SPEC["properties"]["components"]["items"]["properties"]["drain"]["default"] == {}


def test_root_is_the_models():
    """The object's own rule stands at the root; a name of 40 fits, one of 41 is refused by both."""
    assert SCHEMA["x-kubernetes-validations"] == [
        {
            "rule": "self.metadata.name.size() <= 40",
            "message": "metadata.name has at most 40 characters",
            "fieldPath": ".metadata.name",
        }
    ]
    ScalableApi.model_validate(put("metadata.name", "n" * 40))


def test_the_full_sample_has_every_field():
    """A newcomer finds each field of the spec in manifests/samples/full.yaml."""
    written = yaml.safe_load((ROOT / "manifests" / "samples" / "full.yaml").read_text())["spec"]
    assert fields(SPEC) - names(written) == set()


def fields(node: dict[str, Any], where: str = "") -> set[str]:
    """Dotted names of all fields below."""
    node = node.get("items", node)
    own = {f"{where}.{name}": value for name, value in node.get("properties", {}).items()}
    return set(own).union(*(fields(value, name) for name, value in own.items()))


def names(value: Any, where: str = "") -> set[str]:
    if isinstance(value, list):
        return set().union(*(names(entry, where) for entry in value))
    own = {f"{where}.{name}": entry for name, entry in value.items()} if isinstance(value, dict) else {}
    return set(own).union(*(names(entry, name) for name, entry in own.items()))
