"""JSON patches (RFC 6902) of a ScalableApi on a cluster, from the object as it was read. Plain functions: cluster.py asks and
sends, and does so anew when a patch's own test fails.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

from services.cli.targets.target import Change

Patch = list[dict[str, Any]]
MANAGER: Final = "scalable-api"
"""Field manager of `apply`: what another manager set is a conflict, never overwritten in silence."""


def changed(body: Any, change: Change) -> Patch:
    """JSON patch of what differs after `change`: each member of the spec whole, so that what it dropped is gone.

    It holds for this generation: the operator may write status meanwhile, nobody the spec.
    """
    after = copy.deepcopy({"metadata": body["metadata"], "spec": body["spec"]})
    change(after)
    spec, wanted = body["spec"], after["spec"]
    patch: Patch = [{"op": "remove", "path": f"/spec/{key}"} for key in spec if key not in wanted]
    patch += [{"op": "add", "path": f"/spec/{key}", "value": v} for key, v in wanted.items() if spec.get(key) != v]
    old, new = body["metadata"].get("annotations"), after["metadata"].get("annotations")
    if new != old:
        patch += [unless_moved("/metadata/annotations", old)] if old else []
        patch.append({"op": "add", "path": "/metadata/annotations", "value": new or {}})
    return [unless_moved("/metadata/generation", body["metadata"]["generation"]), *patch] if patch else []


def handed_over(owners: Sequence[dict[str, Any]]) -> Patch:
    """JSON patch of managedFields by which what our patches own belongs to our `apply`.

    The API server keeps one manager's patches and applies apart, as if they were two people's.
    """
    ours = {o["operation"]: n for n, o in enumerate(owners) if o["manager"] == MANAGER and not o.get("subresource")}
    if "Update" not in ours:
        return []
    path, patched = f"/metadata/managedFields/{ours['Update']}", owners[ours["Update"]]
    if "Apply" not in ours:
        return [unless_moved(path, patched), {"op": "replace", "path": f"{path}/operation", "value": "Apply"}]
    target, applied = f"/metadata/managedFields/{ours['Apply']}", owners[ours["Apply"]]
    whole = united(applied["fieldsV1"], patched["fieldsV1"])
    merged = {"op": "replace", "path": f"{target}/fieldsV1", "value": whole}
    return [unless_moved(path, patched), unless_moved(target, applied), merged, {"op": "remove", "path": path}]


def unless_moved(path: str, value: Any) -> dict[str, Any]:
    """The patch is refused unless it is so."""
    return {"op": "test", "path": path, "value": value}


def united(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both sets of fields; each is a tree of names."""
    return {key: united(one.get(key, {}), other.get(key, {})) for key in {**one, **other}}
