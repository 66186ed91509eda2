"""YAML text into plain values, strictly, remembering where each value stood.

Why not `yaml.safe_load`: it keeps the last of two equal keys, expands aliases without bound, recurses as deep as
the text asks, and reads `off`, `010` and `2026-12-01` as YAML 1.1 did (a bool, eight, a date). Here a first pass
over the parser's events refuses aliases, tags and depth; a second walks the node tree and resolves plain scalars
by YAML 1.2's core schema, so that `mode: off` is the string it looks like.

Callers: `schema.tiers` (64 KiB documents pushed to every process) and `schema.scalable_api` (the manifest).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

Path = tuple[str | int, ...]

MAX_DEPTH: Final = 32
"""A manifest is 8 deep; libyaml's composer recurses in C: without a bound a hostile text ends the process."""
MAX_INT_DIGITS: Final = 18
"""Every number of ours fits in 64 bits; a longer run of digits stays a string, and the field's type refuses it."""

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL: Final = re.compile(r"|~|null|Null|NULL")
_BOOL: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT: Final = re.compile(rf"[-+]?[0-9]{{1,{MAX_INT_DIGITS}}}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,2})?")


class DocumentError(ValueError):
    """The text is no document of ours. `line` and `column` count from 1; 0 when the place is unknown."""

    def __init__(self, message: str, line: int = 0, column: int = 0, path: Path = ()) -> None:
        super().__init__(message)
        self.message, self.line, self.column, self.path = message, line, column, path


@dataclass(frozen=True, slots=True)
class Document:
    """A value of dicts, lists and scalars, and per path the (line, column) of what was written there."""

    value: Any
    places: Mapping[Path, tuple[int, int]] = field(default_factory=dict)

    def place(self, path: Path) -> tuple[int, int]:
        """Where `path` stands, or the nearest enclosing value that was written: defaults have no place of their own."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (0, 0))


def load(raw: bytes, *, max_bytes: int) -> Document:
    """Read exactly one YAML document of at most `max_bytes`; raises DocumentError."""
    if len(raw) > max_bytes:
        raise DocumentError(f"{len(raw)} bytes; at most {max_bytes} are read")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise DocumentError(f"not UTF-8 at byte {fault.start}") from None
    try:
        _refuse_bombs(text)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None) or getattr(fault, "context_mark", None)
        said = getattr(fault, "problem", None) or str(fault).splitlines()[0]
        raise DocumentError(f"not YAML: {said}", *_position(mark)) from None
    places: dict[Path, tuple[int, int]] = {}
    return Document(None if node is None else _build(node, (), places), places)


def _refuse_bombs(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise DocumentError("aliases (*name) are not read here; write the value out", *_position(event.start_mark))
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None):
            raise DocumentError("tags (!name) are not read here; write the plain value", *_position(event.start_mark))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise DocumentError(f"nested deeper than {MAX_DEPTH}", *_position(event.start_mark))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _position(mark: Any) -> tuple[int, int]:
    return (0, 0) if mark is None else (mark.line + 1, mark.column + 1)


def _build(node: Any, path: Path, places: dict[Path, tuple[int, int]]) -> Any:
    places.setdefault(path, _position(node.start_mark))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, places)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, index), places) for index, item in enumerate(node.value)]
    return _scalar(node.value, plain=not node.style)


def _mapping(node: yaml.MappingNode, path: Path, places: dict[Path, tuple[int, int]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line, column = _position(key_node.start_mark)
        if not isinstance(key_node, yaml.ScalarNode):
            raise DocumentError("a name must be a plain word", line, column, path)
        name = key_node.value
        if name in found:
            raise DocumentError(f"{name!r} stands twice; remove one", line, column, (*path, name))
        places[*path, name] = (line, column)
        found[name] = _build(value_node, (*path, name), places)
    return found


def _scalar(text: str, *, plain: bool) -> Any:
    if not plain:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
