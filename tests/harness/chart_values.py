"""A chart's values.yaml is where its values are described, once: the README's table and values.schema.json come of it.

Above a key, at its own indent (CONTRIBUTING, "A value of a chart"):

    # -- One sentence, which may go on
    # in the next line.
    # @schema {minimum: 1}      JSON schema beside what the default's type says
    # @shape env                one of SHAPES instead
    # @example 3                as one would write it; required on every leaf, and it must fit the schema
    # @as gateway               on a mapping: keys without words have those of the same key there

A mapping with keys is a branch: it takes these keys alone. With an `@example` it is a leaf, free inside. Callers:
tests/chart_generators.py, tests/unit/charts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

Schema = dict[str, Any]
Path = tuple[str, ...]

ENV: Final[Schema] = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "value": {"type": "string"},
        "valueFrom": {"type": "object"},
    },
}
SHAPES: Final[Mapping[str, Schema]] = {
    "env": {"type": "array", "items": ENV},
    "objects": {"type": "array", "items": {"type": "object"}},
    "strings": {"type": "array", "items": {"type": "string", "minLength": 1}},
    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    "intOrPercent": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+%$"}]},
    "duration": {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"},
    "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
}
TYPES: Final[Mapping[type, str]] = {bool: "boolean", int: "integer", float: "number", str: "string"}


class ValuesError(Exception):
    """A value without words, without an example, or with one that its schema refuses."""


@dataclass(frozen=True)
class Words:
    """What stands above one key."""

    sentence: str = ""
    example: str | None = None
    schema: Schema = field(default_factory=dict)
    like: Path = ()


@dataclass(frozen=True)
class Value:
    """`own`: the words stand above this very key, not above its twin's."""

    path: Path
    default: Any
    words: Words
    own: bool
    children: tuple[Value, ...] = ()

    @property
    def name(self) -> str:
        return ".".join(self.path)

    def leaves(self) -> Iterator[Value]:
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


def parse(text: str) -> tuple[Value, ...]:
    """The top-level values, each with all below it. Raises ValuesError, naming the value."""
    root = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValuesError("values.yaml: no mapping")
    words = dict(_words(root, (), text.splitlines()))
    defaults = yaml.safe_load(text)
    return tuple(_value((key,), defaults[key], words, ()) for key in defaults)


def _words(node: yaml.MappingNode, path: Path, lines: list[str]) -> Iterator[tuple[Path, Words]]:
    for key, value in node.value:
        here = (*path, key.value)
        if block := _above(key.start_mark.line, key.start_mark.column, lines):
            yield here, _read(".".join(here), block)
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from _words(value, here, lines)


def _above(line: int, column: int, lines: list[str]) -> list[str]:
    """The comment right above, from its `# --` on."""
    block: list[str] = []
    head = " " * column + "#"
    while line and lines[line - 1].startswith(head):
        line -= 1
        block.insert(0, lines[line].strip()[1:].strip())
        if block[0].startswith("-- "):
            return [block[0].removeprefix("-- "), *block[1:]]
    return []


def _read(name: str, block: list[str]) -> Words:
    sentence = " ".join(line for line in block if not line.startswith("@"))
    tags = {tag: rest for tag, _, rest in (line[1:].partition(" ") for line in block if line.startswith("@"))}
    if unknown := tags.keys() - {"example", "schema", "shape", "as"}:
        raise ValuesError(f"{name}: no tag @{min(unknown)}; there are @example, @schema, @shape, @as")
    if (shape := tags.get("shape")) is not None and shape not in SHAPES:
        raise ValuesError(f"{name}: no shape {shape}; there are {', '.join(SHAPES)}")
    schema = SHAPES[shape] if shape else yaml.safe_load(tags.get("schema", "{}"))
    return Words(sentence, tags.get("example"), schema, tuple(filter(None, tags.get("as", "").split("."))))


def _value(path: Path, default: Any, words: Mapping[Path, Words], twin: Path) -> Value:
    own = words.get(path)
    found = own or words.get(twin, Words())
    below = own.like if own and own.like else twin
    branch = isinstance(default, dict) and bool(default) and found.example is None
    children = (
        tuple(_value((*path, key), default[key], words, (*below, key) if below else ()) for key in default)
        if branch
        else ()
    )
    value = Value(path, default, found, own is not None, children)
    _complain(value)
    return value


def _complain(value: Value) -> None:
    if (not value.children or len(value.path) == 1) and not value.words.sentence:
        raise ValuesError(f"{value.name}: needs a sentence above it, `# -- …`")
    if not value.children and value.words.example is None:
        raise ValuesError(f"{value.name}: needs an example above it, `# @example …`")
    if value.words.sentence and not re.search(r"[.?!`)]$", value.words.sentence):
        raise ValuesError(f"{value.name}: {value.words.sentence!r} is no sentence")


def schema_of(value: Value) -> Schema:
    """As JSON schema, draft 7, which every Helm reads."""
    about: Schema = {"description": value.words.sentence} if value.words.sentence else {}
    if value.children:
        properties = {child.path[-1]: schema_of(child) for child in value.children}
        return about | {"type": "object", "additionalProperties": False, "properties": properties} | value.words.schema
    example = yaml.safe_load(value.words.example or "")
    return about | {"examples": [example]} | (_typed(value) | value.words.schema)


def _typed(value: Value) -> Schema:
    if "anyOf" in value.words.schema or "type" in value.words.schema:
        return {}
    if isinstance(value.default, dict | list):
        return {"type": "object" if isinstance(value.default, dict) else "array"}
    kind = TYPES.get(type(value.default))
    if kind is None:
        raise ValuesError(f"{value.name}: its default is null, so `# @schema {{type: …}}` must say the type")
    return {"type": kind}


def whole_schema(title: str, values: tuple[Value, ...]) -> Schema:
    """Unknown keys are refused, but those that Helm and a parent chart hand down."""
    handed_down: Schema = {"enabled": {"type": "boolean"}, "tags": {"type": "object"}, "global": {"type": "object"}}
    properties = handed_down | {value.path[0]: schema_of(value) for value in values}
    properties["global"]["additionalProperties"] = True
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": title,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def table(values: tuple[Value, ...]) -> str:
    """README's part: a section per tree, the rest in one at the end; of a twin only what differs from its model."""
    by_path = {leaf.path: leaf for value in values for leaf in value.leaves()}
    trees = [value for value in values if value.children]
    parts = [
        _section(f"`{tree.name}`", tree.words.sentence, [x for x in tree.leaves() if _differs(x, tree, by_path)])
        for tree in trees
    ]
    return "\n".join([*parts, _section("The rest", "", [value for value in values if not value.children])])


def _section(title: str, sentence: str, leaves: list[Value]) -> str:
    head = f"### {title}\n" + (f"\n{sentence}\n" if sentence else "")
    rows = "".join(map(_row, leaves))
    return head + (f"\n| value | meaning | default | example |\n|---|---|---|---|\n{rows}" if rows else "")


def _differs(leaf: Value, top: Value, by_path: Mapping[Path, Value]) -> bool:
    twin = by_path.get((*top.words.like, *leaf.path[1:])) if top.words.like else None
    return leaf.own or twin is None or twin.default != leaf.default


def _row(leaf: Value) -> str:
    cells = (f"`{leaf.name}`", leaf.words.sentence, _code(flow(leaf.default)), _code(leaf.words.example or ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).strip()
    return text.removesuffix("\n...")
