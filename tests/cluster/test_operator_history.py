"""What an object was before leaves no trace in the cluster: forty specs, each A, then B, then A again, all at the same time.

Each has one to three gateways alone. Two hundred of the whole path are in tests/unit/controller/test_loop.py, in virtual time; here it is the
API server that merges what is applied, and must forget what no longer is.
"""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import yaml

from tests.cluster.client import Object, scalable_apis
from tests.cluster.operator_scene import OLDEST, Scene
from tests.harness.any_spec import anything, plain

pytestmark = OLDEST

CONTROL = {"tokenSecretRef": {"name": "shop-control"}}
COUNT = 40
PATH = ("gateway",)
SEED = 20261124
WITHIN_S = 60
"""For each of the three steps; the figure is printed."""
LOOK_S = 0.5
REST = {("Ready", "True"), ("TiersEnforced", "True"), ("Progressing", "False")}


def states(scene: Scene) -> dict[str, Any]:
    """By object: its status, replicas and ConfigMap, without times, revisions and what is told of the past; None before it was looked at."""
    listed = scene.client.do("GET", scalable_apis(scene.namespace))["items"]
    deployments = {one["metadata"]["name"]: one for one in scene.client.do("GET", scene.deployments())["items"]}
    maps = scene.client.do("GET", f"/api/v1/namespaces/{scene.namespace}/configmaps")["items"]
    kept = {one["metadata"]["name"]: one for one in maps}
    return {one["metadata"]["name"]: state(one, deployments, kept) for one in listed}


def state(api: Object, deployments: Object, maps: Object) -> Any:
    name, status = api["metadata"]["name"], api.get("status") or {}
    if status.get("observedGeneration") != api["metadata"]["generation"] or f"{name}-tiers" not in maps:
        return None
    kept = maps[f"{name}-tiers"]
    (component,) = status["components"]
    return {
        "fields": sorted(status.keys() - {"lastScaleTime"}),
        "conditions": [(c["type"], c["status"], c["reason"]) for c in status["conditions"]],
        "component": {key: component.get(key) for key in ("mode", "desired", "current", "ready", "min", "max")},
        "tiers": [status["tiers"].get(key) for key in ("phase", "activeHash", "pods", "pending", "canary", "shadow")],
        "document": yaml.safe_load(kept["data"]["tiers.yaml"])["spec"],
        "keys": (sorted(kept["data"]), sorted(kept["metadata"]["annotations"])),
        "replicas": deployments[f"{name}-gateway"]["spec"]["replicas"],
    }


def rests(found: Any) -> bool:
    return found is not None and {(kind, said) for kind, said, _ in found["conditions"]} >= REST


def replace(scene: Scene, name: str, spec: Object) -> None:
    """Whole; again if the operator wrote the status in between."""
    path = scalable_apis(scene.namespace, name)

    def done() -> bool:
        found = scene.client.do("GET", path) | {"spec": spec | {"control": CONTROL}}
        return scene.client.ask("PUT", path, found).is_success

    scene.until(done)


def delta(before: Object, after: Object | None) -> Object:
    return {key: (before[key], after and after[key]) for key in before if not after or before[key] != after[key]}


@pytest.mark.timeout(3 * WITHIN_S, func_only=True)
def test_a_spec_that_comes_back_ends_as_it_was(scene):
    """A → B → A: status, ConfigMap and replicas are those of A alone, for every pair."""
    draw = random.Random(SEED)
    pairs = {f"s{number}": (plain(draw, PATH), anything(draw, PATH)) for number in range(COUNT)}
    scene.secret()
    for name, (first, _) in pairs.items():
        scene.deployment("gateway", of=name)
        scene.apply(name, **first, control=CONTROL)
    began = time.monotonic()
    scene.operator()
    scene.until(lambda: all(map(rests, states(scene).values())), WITHIN_S, "all are at rest", LOOK_S)
    alone = states(scene)
    print(f"\n{COUNT} specs A at rest: {time.monotonic() - began:.1f} s")
    for name, (_, second) in pairs.items():
        replace(scene, name, second)
    scene.until(lambda: None not in states(scene).values(), WITHIN_S, "all were looked at as B", LOOK_S)
    other = sum(found != alone[name] for name, found in states(scene).items())
    for name, (first, _) in pairs.items():
        replace(scene, name, first)
    seen: dict[str, Any] = {}

    def as_before() -> bool:
        seen.update({name: delta(alone[name], found) for name, found in states(scene).items()})
        return not any(seen.values())

    try:
        scene.until(as_before, WITHIN_S, every_s=LOOK_S)
    except AssertionError:
        pytest.fail(f"{SEED}: {[(name, one, pairs[name]) for name, one in seen.items() if one]}")
    print(f"A → B ({other} look different) → A as it was: {time.monotonic() - began:.1f} s")
    assert other > COUNT / 2
