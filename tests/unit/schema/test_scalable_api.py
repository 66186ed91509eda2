"""The manifest: operator.md §1 as a table; each rule broken once, each bound, the place of each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.schema.scalable_api import (
    ManifestError,
    ManifestFault,
    duration_ms,
    load_manifest,
    target_milli,
    tiers_spec,
)
from services.schema.tiers import BUILT_IN

SAMPLES = Path(__file__).resolve().parents[3] / "manifests" / "samples"
MINIMAL = """
apiVersion: scalableapi.io/v1
kind: ScalableApi
metadata:
  name: shop
spec:
  components:
  - name: gateway
  - name: balancer
  - name: api
    minReplicas: 2
    maxReplicas: 20
  - name: worker
"""


def manifest(change: Any = None) -> bytes:
    value = yaml.safe_load(MINIMAL)
    if change:
        change(value)
    return json.dumps(value).encode()  # JSON is YAML, and has no aliases


def api(**members: Any) -> Any:
    return lambda m: m["spec"]["components"][2].update(members)


def spec(**members: Any) -> Any:
    return lambda m: m["spec"].update(members)


def target(value: Any) -> Any:
    return api(metrics=[{"name": "m", "type": "RPS", "target": value}])


def tiers(**members: Any) -> Any:
    return spec(tiers=members)


def tier(name: str, *policies: Any) -> Any:
    return {"name": name, "criticality": "critical", "policies": list(policies)}


ONE = {"name": "one", "quota": 100, "window": 60}


def test_minimal_has_the_defaults():
    """Twelve lines suffice: limits as built in, behaviour as documented."""
    found = load_manifest(manifest()).spec
    assert tiers_spec(found) == BUILT_IN.spec
    component = found.component("api")
    assert component is not None
    assert component.behavior.stable_window == "60s"
    assert component.behavior.scale_down.stabilization_window == "300s"
    assert [(p.type, p.value) for p in component.behavior.scale_up.policies] == [("Percent", 400), ("Pods", 8)]
    assert (found.mode, component.mode, found.component("nobody")) == ("Auto", None, None)


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_samples_load(sample):
    """Every sample in the wheel is accepted."""
    load_manifest(sample.read_bytes())


def test_quickstart_makes_scaling_visible():
    """platform.md §2's values."""
    found = load_manifest((SAMPLES / "quickstart.yaml").read_bytes()).spec
    component = found.component("api")
    assert component is not None
    behavior = component.behavior
    assert (component.min_replicas, component.max_replicas) == (2, 4)
    assert [(m.type, m.target) for m in component.metrics] == [("RPS", 60)]
    assert (behavior.stable_window, behavior.panic.window) == ("10s", "4s")
    assert behavior.scale_down.stabilization_window == "20s"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["metadata"].update(name="a" * 41), "at most 40 characters"),
        (api(minReplicas=21), "minReplicas 21 is above maxReplicas 20"),
        (api(fallback={"replicas": 21}), "fallback.replicas 21 is above maxReplicas 20"),
        (api(replicas=3), "the api's count is spec.replicas"),
        (target(0), "outside 0.001"),
        (target(-1), "outside 0.001"),
        (target(1.5), 'quote it: "1.5"'),
        (target(value=True), "neither a whole number nor quoted text"),
        (target("1.2345"), "at most 9 digits and 3 decimals"),
        (target("abc"), "at most 9 digits"),
        (target("0.0"), "outside 0.001"),
        (target(1_000_000_000), "outside 0.001"),
        (api(behavior={"panic": {"window": "31s"}}), "panic.window 31s is over half of stableWindow 60s"),
        (tiers(anonymousTier="x"), "anonymousTier: no tier is named 'x'"),
        (tiers(defaultTier="x"), "defaultTier: no tier is named 'x'"),
        (lambda m: m["spec"]["components"][3].update(metrics=[{"name": "m", "type": "RPS", "target": 1}]), "by CPU"),
        (spec(circuitBreaker={"openSeconds": 301}), "openSeconds 301 is above maxOpenSeconds 300"),
        (lambda m: (m["spec"].update(replicas=3), m["spec"]["components"].pop(2)), "components has no api"),
        (api(drain={"timeout": "31m"}), "31m is outside 0s…30m"),
        (api(drain={"settle": "5 s"}), "is no duration"),
        (api(behavior={"stableWindow": "5s"}), "5s is outside 6s…1h"),
        (tiers(credentialFailures={**ONE, "name": "x-next"}), "not ending in -next"),
        (tiers(credentialFailures={**ONE, "name": "x" * 28}), "at most 27 characters"),
        (tiers(routes=[{"match": "GET /x", "policy": {**ONE, "name": "y-next"}}]), "not ending in -next"),
        (spec(components=[]), "at least 1 entries"),
        (spec(components=[{"name": "api"}] * 5), "at most 4 entries"),
        (spec(components=[{"name": "api"}] * 2), "component 'api' stands twice"),
        (api(metrics=[{"name": "m", "type": "RPS", "target": 1}] * 2), "metric 'm' stands twice"),
        (tiers(definitions=[tier("free", ONE)] * 2), "tier 'free' stands twice"),
        (tiers(definitions=[tier(f"t{n}", {**ONE, "name": f"p{n}"}) for n in range(33)]), "at most 32 entries"),
        (
            tiers(definitions=[tier("anonymous", *({**ONE, "name": f"p{n}", "mode": m} for n in range(5)
                   for m in ["enforce" if n else "shadow"])), tier("free", ONE)]),
            "has 5 policies; keep at most 4",
        ),
        (tiers(definitions=[tier("anonymous", ONE), tier("free", ONE)]), "'one' is the name of tiers[0].policies[0]"),
        (tiers(routes=[{"match": "GET /x", "cost": 500}]), "cost: 500 is above quota 100"),
        (api(mode="auto"), "did you mean 'Auto'?"),
        (spec(mode="Off"), "expected one of Auto, Recommend, Manual"),
        (spec(schedule=[]), "is not a field here"),
        (api(metrics=[{"name": "m", "type": "Prometheus", "target": 1}]), "expected one of InFlight, RPS, CPU"),
        (spec(replicas=1001), "expected at most 1000"),
        (api(maxReplicas=0), "expected at least 1"),
        (spec(paused={"scaleUp": "yes"}), "expected true or false"),
        (lambda m: m.pop("kind"), "kind: is missing"),
    ],
)  # fmt: skip
def test_refused(change, said):
    """Each rule broken once, each bound overstepped: a sentence with the field and the fix."""
    with pytest.raises(ManifestError) as error:
        load_manifest(manifest(change))
    assert said in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        api(mode="Recommend"),
        api(mode="Manual", metrics=[{"name": "m", "type": t, "target": 1} for t in ["LoopLag"]]),
        target("0.001"),
        target(999_999_999),
        api(drain={"timeout": "30m", "settle": "0s"}, fallback={"after": "5s", "behavior": "Hold", "replicas": 20}),
        api(behavior={"stableWindow": "1h", "panic": {"window": "5m", "thresholdPercent": 110}}),
        api(behavior={"scaleUp": {"policies": [], "select": "Disabled", "tolerancePercent": 50}}),
        spec(replicas=0, mode="Manual", paused={"scaleUp": True, "scaleDown": True, "tiers": True}),
        tiers(rotation={"ackTimeout": "1s", "historyLimit": 5}),
        tiers(routes=[{"match": "GET /x", "cost": 100}]),
        lambda m: m["metadata"].update(namespace="shop", labels={"a": "b"}, annotations={"c": "d"}),
    ],
)
def test_accepted(change):
    """Each bound itself, each enum value."""
    load_manifest(manifest(change))


def test_own_routes_stand_before_the_built_in_ones():
    """The login policies stay, whatever the manifest adds."""
    found = load_manifest(manifest(tiers(routes=[{"match": "POST /api/v1/auth/login", "cost": 1}]))).spec
    assert tiers_spec(found).routes[1:] == BUILT_IN.spec.routes


def test_a_fault_has_its_place():
    """E106: line, column, path, expected, nearest name; in the text's order."""
    text = MINIMAL.replace("minReplicas: 2", "minreplicas: 2").replace("name: balancer", "name: balancr")
    with pytest.raises(ManifestError) as error:
        load_manifest(text.encode())
    first, second = error.value.faults
    assert (first.line, first.column, first.path, first.nearest) == (9, 5, "spec.components[1].name", "balancer")
    assert (second.line, second.path, second.nearest) == (11, "spec.components[2].minreplicas", "minReplicas")
    assert "expected one of name, mode" in str(second)


@pytest.mark.parametrize(
    ("raw", "line", "said"),
    [
        (b"", 1, "is no manifest"),
        (b"a: 1\na: 2\n", 2, "'a' stands twice"),
        (b"a: &x 1\nb: *x\n", 2, "aliases"),
        (b" " * 300_000, 0, "at most 262144"),
    ],
)
def test_refused_as_a_text(raw, line, said):
    """What is no document of ours at all."""
    with pytest.raises(ManifestError) as error:
        load_manifest(raw)
    assert error.value.faults[0].line == line
    assert said in error.value.faults[0].message


def test_units():
    """Durations in ms, targets in thousandths; a fault without a place says only what is wrong."""
    assert [duration_ms(text) for text in ("1m30s", "500ms", "2h", "0s")] == [90_000, 500, 7_200_000, 0]
    assert [target_milli(value) for value in (20, "1.5", "0.001")] == [20_000, 1500, 1]
    assert str(ManifestError.of("it is gone")) == "manifest: it is gone"
    assert str(ManifestFault(3, 1, "a", "b", "c", "d")) == "line 3: a: b; expected c; did you mean 'd'?"
