"""Is a CRD still one that yesterday's objects, clients and operators can live with (operator.md §12)?

`breaks(old, new)` lists what an additive version may not do: a field or an enum value gone, a type, key or default
changed, a new required field, a tighter bound, another pattern, a new rule on an old field, a column moved. The
goldens in tests/unit/schema/crds are the CRDs of releases; `./dev generate golden` writes this version's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

GOLDEN = "tests/unit/schema/crds"
Schema = Mapping[str, Any]

FLOORS = ("minimum", "minLength", "minItems")
CEILINGS = ("maximum", "maxLength", "maxItems")
FIXED = (
    *("type", "format", "pattern"),
    *("x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
)


def bare(value: Any) -> Any:
    """Without descriptions, which may change."""
    if isinstance(value, dict):
        return {name: bare(item) for name, item in value.items() if name != "description" or not isinstance(item, str)}
    return [bare(item) for item in value] if isinstance(value, list) else value


def own_default(node: Schema) -> Any:
    """The node's default without what the fields below fill in by themselves: under a rule it is written out."""
    return _own(node.get("default"), node)


def _own(value: Any, node: Schema) -> Any:
    if isinstance(value, list):
        return [_own(entry, node["items"]) for entry in value]
    if not isinstance(value, dict):
        return value
    fields = node["properties"]
    told = {name: _own(each, fields[name]) for name, each in value.items()}
    return {
        name: each for name, each in told.items() if "default" not in fields[name] or each != own_default(fields[name])
    }


def breaks(old: Schema, new: Schema) -> list[str]:
    """Each incompatible change as a sentence that begins with its field; none: every old object stays valid."""
    before, after = old["spec"]["versions"][0], new["spec"]["versions"][0]
    found = [f"spec.{part}: changed" for part in ("group", "scope") if old["spec"][part] != new["spec"][part]]
    found += [f"names.{part}: changed" for part, name in old["spec"]["names"].items()
              if _gone(name, new["spec"]["names"].get(part))]  # fmt: skip
    found += [f"{part}: changed" for part in ("name", "subresources") if before[part] != after[part]]
    columns = before["additionalPrinterColumns"]
    if [column for column in after["additionalPrinterColumns"] if column in columns] != columns:
        found.append("additionalPrinterColumns: one is gone, changed or moved")
    schemas = (version["schema"]["openAPIV3Schema"] for version in (before, after))
    return [*found, *_node("", *schemas)]


def _gone(old: Any, new: Any) -> bool:
    return not set(old) <= set(new or ()) if isinstance(old, list) else old != new


def _node(where: str, old: Schema, new: Schema) -> Iterator[str]:
    yield from (f"{where}: {word} changed" for word in FIXED if old.get(word) != new.get(word))
    if own_default(old) != own_default(new):
        yield f"{where}: default changed"
    yield from _bounds(where, old, new)
    if "enum" in new and (lost := set(old.get("enum", ("other values",))) - set(new["enum"])):
        yield f"{where}: no longer accepts {', '.join(sorted(lost))}"
    rules = [validation["rule"] for validation in old.get("x-kubernetes-validations", ())]
    for validation in new.get("x-kubernetes-validations", ()):
        if validation["rule"] not in rules:
            yield f"{where}: has a new rule {validation['rule']}"
    yield from (
        f"{where}.{name}: is required now" for name in set(new.get("required", ())) - set(old.get("required", ()))
    )
    yield from _fields(where, old, new)


def _fields(where: str, old: Schema, new: Schema) -> Iterator[str]:
    for name, field in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{where}.{name}: is gone"
        else:
            yield from _node(f"{where}.{name}", field, new["properties"][name])
    if "items" in old and "items" in new:
        yield from _node(f"{where}[]", old["items"], new["items"])


def _bounds(where: str, old: Schema, new: Schema) -> Iterator[str]:
    for word in FLOORS:
        if word in new and (word not in old or new[word] > old[word]):
            yield f"{where}: {word} is tighter"
    for word in CEILINGS:
        if word in new and (word not in old or new[word] < old[word]):
            yield f"{where}: {word} is tighter"
