"""Patches as the API server gets them; that it takes them: tests/cluster/test_cli.py."""

from __future__ import annotations

from typing import Any

import pytest

from services.cli.commands.edit import counted, paused
from services.cli.targets.patches import MANAGER, changed, handed_over, united

BODY = {
    "metadata": {"generation": 3, "annotations": {"a": "b"}},
    "spec": {"components": [{"name": "api"}], "budget": {"maxReplicaHours": 5}},
}


def owner(operation: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": MANAGER, "operation": operation, "fieldsV1": fields, **more}


def test_only_what_differs_is_in_it() -> None:
    """Members of the spec, whole; it holds for the generation that was read."""
    patch = changed(BODY, lambda body: counted(body["spec"], "api", 3))
    assert patch == [
        {"op": "test", "path": "/metadata/generation", "value": 3},
        {"op": "add", "path": "/spec/components", "value": [{"name": "api", "mode": "Manual"}]},
        {"op": "add", "path": "/spec/replicas", "value": 3},
    ]
    assert [op["op"] for op in changed(BODY, lambda body: body["spec"].pop("budget"))] == ["test", "remove"]


def test_nothing_to_change_is_no_patch() -> None:
    """Not even a test of the generation."""
    assert changed(BODY, lambda body: body["spec"].update(budget={"maxReplicaHours": 5})) == []


def test_annotations_are_replaced_as_they_were_read() -> None:
    """A reason more beside the others; if somebody else set one meanwhile, it is refused."""
    patch = changed(BODY, lambda body: paused(body, ["up"], on=True, reason="sale"))
    tests = [op for op in patch if op["op"] == "test"]
    assert tests[1] == {"op": "test", "path": "/metadata/annotations", "value": {"a": "b"}}
    assert patch[-1]["value"] == {"a": "b", "scalableapi.io/pause-reason": "sale"}


def test_what_was_patched_joins_what_was_applied() -> None:
    """One entry has both; entries of others, and ours of a subresource, stay."""
    others = [{"manager": "kubectl", "operation": "Update", "fieldsV1": {}}, owner("Update", {}, subresource="status")]
    applied, patched = owner("Apply", {"f:spec": {"f:mode": {}}}), owner("Update", {"f:spec": {"f:replicas": {}}})
    path = "/metadata/managedFields"
    assert handed_over([applied, *others, patched]) == [
        {"op": "test", "path": f"{path}/3", "value": patched},
        {"op": "test", "path": f"{path}/0", "value": applied},
        {"op": "replace", "path": f"{path}/0/fieldsV1", "value": {"f:spec": {"f:mode": {}, "f:replicas": {}}}},
        {"op": "remove", "path": f"{path}/3"},
    ]
    assert handed_over([*others, patched])[1] == {"op": "replace", "path": f"{path}/2/operation", "value": "Apply"}


@pytest.mark.parametrize("owners", [[], [owner("Apply", {})], [owner("Update", {}, subresource="scale")]])
def test_nothing_to_hand_over(owners: list[dict[str, Any]]) -> None:
    """What is applied is ours already."""
    assert handed_over(owners) == []


def test_united() -> None:
    """Trees of names."""
    assert united({"a": {"b": {}}}, {"a": {"c": {}}, "d": {}}) == {"a": {"b": {}, "c": {}}, "d": {}}
