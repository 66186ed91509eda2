"""A YAML text given other values where they stand: what does not change is not written anew, so that comments, order
and layout stay the user's.

Why by hand: round-trip writers print the whole document. ruamel.yaml 0.19 joins flow collections that span lines, loses
comments in them, and made `- name: a type: b` of two members with a long comment beside the first. Here the parser's
marks tell where each value stands, and only those spans are replaced; the result is read again before it is used.

Caller: local.py.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, SequenceNode

from services.schema.documents import load
from services.schema.scalable_api import MAX_BYTES

Edit = tuple[int, int, str]
"""Characters from, to (excluded), what stands there instead."""
WIDTH: Final = 100
"""A new collection that fits stands in braces on one line, as our samples do."""


def rewritten(text: str, wanted: Mapping[str, Any]) -> str:
    """`text`, a document that `documents.load` takes, with the values of `wanted`. ValueError: it cannot be done in place."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    old = load(text.encode(), max_bytes=MAX_BYTES).value
    changes = sorted(_edits(text, node, old, wanted), key=lambda edit: edit[:2])  # stable: what is nested comes first
    parts, at = [], 0
    for start, end, new in changes:
        parts += [text[at:start], new]
        at = end
    made = "".join(parts) + text[at:]
    if load(made.encode(), max_bytes=MAX_BYTES).value != wanted:
        raise ValueError("its layout cannot be edited in place")
    return made


def _edits(text: str, node: Node | None, old: Any, new: Any) -> Iterator[Edit]:
    """Of a node that `_goes_on`."""
    if isinstance(node, MappingNode):
        yield from _members(text, node, old, new)
    elif isinstance(node, SequenceNode):
        yield from _items(text, node, old, new)


def _goes_on(node: Node, old: Any, new: Any) -> bool:
    """Whether its parts can be edited one by one; else it is replaced as a whole."""
    if isinstance(node, MappingNode) and isinstance(new, dict):
        first = next(iter(old), None)
        return first in new and not (node.flow_style and old.keys() - new.keys())
    if isinstance(node, SequenceNode) and isinstance(new, list) and not node.flow_style:
        before, after = _names(old), _names(new)
        kept = [name for name in before if name in after]
        return bool(kept) and kept == [name for name in after if name in before]
    return False


def _names(items: Sequence[Any]) -> list[str]:
    """Of a list whose items are told apart by name; else none."""
    names = [str(item.get("name", "")) if isinstance(item, dict) else "" for item in items]
    return names if all(names) and len(set(names)) == len(names) else []


def _members(text: str, node: MappingNode, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Edit]:
    last = node.start_mark.index + 1
    for key, value in node.value:
        name = key.value
        if name not in new:
            yield _line_start(text, key), _line_end(text, _end(text, value)) + 1, ""
            continue
        last = _end(text, value)
        if old[name] != new[name]:
            yield from _changed(text, node, (key, value), old[name], new[name])
    added = {name: value for name, value in new.items() if name not in old}
    if added and node.flow_style:
        yield last, last, "".join(f", {name}: {_flow(value)}" for name, value in added.items())
    elif added:
        column, at = node.start_mark.column, _line_end(text, last)
        yield at, at, "".join(f"\n{' ' * column}{_entry(name, value, column)}" for name, value in added.items())


def _changed(text: str, parent: MappingNode, entry: tuple[Node, Node], old: Any, new: Any) -> Iterator[Edit]:
    """One member's value: inside, in its place, or with its name."""
    key, value = entry
    start, end = value.start_mark.index, _end(text, value)
    block = isinstance(value, CollectionNode) and not value.flow_style
    if _goes_on(value, old, new):
        yield from _edits(text, value, old, new)
    elif parent.flow_style or (start < end and not block and _short(new, key.end_mark.column)):
        yield start, end, _flow(new)
    else:
        yield key.start_mark.index, end, _entry(str(key.value), new, key.start_mark.column)


def _items(text: str, node: SequenceNode, old: list[Any], new: list[Any]) -> Iterator[Edit]:
    """Of a block sequence of named items: those kept are edited, those added stand after the one before them."""
    nodes = dict(zip(_names(old), zip(node.value, old, strict=True), strict=True))
    column = node.start_mark.column
    for name in nodes.keys() - set(_names(new)):
        item, _ = nodes[name]
        yield _line_start(text, item), _line_end(text, _end(text, item)) + 1, ""
    at = _line_start(text, node)
    for name, value in zip(_names(new), new, strict=True):
        if name not in nodes:
            made = " " * column + _indented(_block([value]), column)
            yield at, at, f"{made}\n" if at == _line_start(text, node) else f"\n{made}"
            continue
        item, before = nodes[name]
        at = _line_end(text, _end(text, item))
        if _goes_on(item, before, value):
            yield from _edits(text, item, before, value)
        elif before != value:
            yield item.start_mark.index, _end(text, item), _indented(_block([value]), column)[2:]


def _end(text: str, node: Node) -> int:
    """Behind its last character: a block collection's own mark is where the next token begins."""
    if not isinstance(node, MappingNode | SequenceNode) or node.flow_style:
        return node.start_mark.index + len(text[node.start_mark.index : node.end_mark.index].rstrip())
    last = node.value[-1]
    return _end(text, last[1] if isinstance(node, MappingNode) else last)


def _line_start(text: str, node: Node) -> int:
    return text.rfind("\n", 0, node.start_mark.index) + 1


def _line_end(text: str, at: int) -> int:
    """The line's newline, or the text's end."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found


def _entry(name: str, value: Any, column: int) -> str:
    if _short(value, column + len(name)):
        return f"{name}: {_flow(value)}"
    return _indented(_block({name: value}), column)


def _short(value: Any, column: int) -> bool:
    return not isinstance(value, dict | list) or column + len(_flow(value)) <= WIDTH


def _flow(value: Any) -> str:
    dumped: str = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf)
    return dumped.strip()[1:-1]


def _block(value: Any) -> str:
    """In block style, the innermost collections in braces."""
    dumped: str = yaml.safe_dump(value, default_flow_style=None, sort_keys=False, allow_unicode=True, width=math.inf)
    return dumped.rstrip("\n")


def _indented(text: str, column: int) -> str:
    """All lines but the first."""
    return textwrap.indent(text, " " * column).lstrip(" ")
