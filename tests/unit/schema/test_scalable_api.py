"""The manifest: the table of accepted and refused ones, the sentences, the place of each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.schema.scalable_api import (
    ManifestError,
    ManifestFault,
    load_manifest,
    tiers_spec,
)
from services.schema.tiers import BUILT_IN, TiersSpec
from tests.harness.crd_cases import CASES

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


@pytest.mark.parametrize("case", [case for case in CASES if case.by != "server"], ids=lambda case: case.name)
def test_the_table_of_manifests(case):
    """What API servers accept and refuse (operator.md §12), the models do too, with a sentence that names the field."""
    raw = json.dumps(case.manifest).encode()
    if case.accepted:
        load_manifest(raw)
        return
    with pytest.raises(ManifestError) as error:
        load_manifest(raw)
    found = [f"{fault.message}; expected {fault.expected}" for fault in error.value.faults if fault.path == case.field]
    assert any(case.said in sentence for sentence in found), error.value


def test_every_rule_is_broken_once():
    """R1…R16 each have a row that breaks them."""
    assert {case.rule for case in CASES} - {""} == {f"R{number}" for number in range(1, 17)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            api(minReplicas=21),
            "spec.components[2].minReplicas: minReplicas 21 is above maxReplicas 20; lower the first",
        ),
        (target(1.5), 'quote it: "1.5"'),
        (api(behavior={"panic": {"window": "31s"}}), "panic.window 31s is over half of stableWindow 60s"),
        (tiers(anonymousTier="x"), "anonymousTier 'x' names no tier of definitions"),
        (api(mode="auto"), "did you mean 'Auto'?"),
        (lambda m: m.pop("kind"), "kind: is missing"),
        (lambda m: m.update(kind="Scalableapi"), "did you mean 'ScalableApi'?"),
    ],
)
def test_sentences_have_the_values(change, said):
    """What was written, beside what would be right."""
    with pytest.raises(ManifestError) as error:
        load_manifest(manifest(change))
    assert said in str(error.value)


def test_what_no_rule_sees_is_named_with_its_line():
    """A cron field outside its range and a zone nobody knows, each at its place; the tiers' faults beside them."""
    text = MINIMAL.replace(
        "    maxReplicas: 20\n",
        "    maxReplicas: 20\n    schedule:\n    - {name: a, cron: 0 24 * * *, duration: 1h, min: 3}\n"
        "    - {name: b, cron: 0 8 * * *, timeZone: Europe/Warsow, duration: 1h, min: 3}\n",
    )
    text += "  tiers: {routes: [{match: GET /api/v1/x, cost: 1000}]}\n"
    with pytest.raises(ManifestError) as error:
        load_manifest(text.encode())
    cron, zone, cost = error.value.faults
    assert (cron.line, cron.path) == (14, "spec.components[2].schedule[0].cron")
    assert cron.message == "hour: '24' is outside 0-23, backwards, or has a step of 0"
    assert (zone.line, zone.path) == (15, "spec.components[2].schedule[1].timeZone")
    assert zone.message == "no time zone is named 'Europe/Warsow'; did you mean 'Europe/Warsaw'?"
    assert "cost: 1000 is above quota" in cost.message


def test_metadata():
    """Namespace, labels and annotations are taken as they are."""
    given = {"namespace": "shop", "labels": {"a": "b"}, "annotations": {"c": "d"}}
    taken = load_manifest(manifest(lambda m: m["metadata"].update(given))).metadata.model_dump()
    assert {name: taken[name] for name in given} == given


def test_the_document_has_the_manifests_tiers():
    """Equal to one that was written as a document: the same hash wherever it is rendered."""
    definitions = [
        {"name": n, "criticality": "critical", "policies": [{"name": n, "quota": 90, "window": 1}]} for n in "ab"
    ]
    route = {"match": "GET /x", "policy": {"name": "x", "quota": 90, "window": 60}}
    own = {"anonymousTier": "a", "defaultTier": "b", "definitions": definitions, "routes": [route]}
    wanted = {"anonymousTier": "a", "defaultTier": "b", "tiers": definitions, "routes": [route]}
    found = tiers_spec(load_manifest(manifest(spec(tiers=own))).spec)
    document = TiersSpec.model_validate(wanted)
    assert (found.tiers, found.routes[0]) == (document.tiers, document.routes[0])


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
    assert "expected one of name, targetRef, mode" in str(second)


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


def test_a_fault_without_a_place():
    """It says only what is wrong."""
    assert str(ManifestError.of("it is gone")) == "manifest: it is gone"
    assert str(ManifestFault(3, 1, "a", "b", "c", "d")) == "line 3: a: b; expected c; did you mean 'd'?"
