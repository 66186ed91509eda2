"""What the API server makes of a ScalableApi: its defaults are the models', its status loses nothing, the CRD itself has no warnings."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from services.schema.scalable_api import ScalableApi
from services.schema.status import Status
from tests.cluster.client import MERGE, Client, Object, scalable_apis
from tests.cluster.conftest import CRD, CRDS
from tests.harness.crd_cases import CASES, MINIMAL

ACCEPTED = [case for case in CASES if case.accepted and case.by != "model"]


def spoken(value: Any) -> Any:
    """Without what says nothing: null, empty lists, and the algorithm that follows from a policy's window."""
    if isinstance(value, dict):
        usual = {"algorithm": "gcra" if value.get("window") == 1 else "sliding"}
        return {n: spoken(each) for n, each in value.items() if each not in (None, [], usual.get(n))}
    return [spoken(each) for each in value] if isinstance(value, list) else value


def filled_in(manifest: Object) -> Any:
    """The spec as the models read it, every default written out."""
    named = {**manifest, "metadata": {"name": manifest["metadata"]["name"]}}
    named.pop("status", None)
    read = ScalableApi.model_validate(named, by_alias=True, by_name=False)
    return read.spec.model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_defaults_are_the_models(case, client: Client, namespace):
    """What is stored of a row is what the models make of it, default by default, and reads as the same object."""
    name = case.manifest["metadata"]["name"]
    client.do("POST", scalable_apis(namespace), {**case.manifest, "metadata": {"name": name}})
    stored = client.do("GET", scalable_apis(namespace, name))
    assert spoken(stored["spec"]) == spoken(filled_in(case.manifest))
    assert filled_in(stored) == filled_in(case.manifest)


def test_a_status_loses_nothing(client, namespace):
    """A status with every field of the schema comes back as it was written, and the models read it."""
    client.do("POST", scalable_apis(namespace), MINIMAL)
    version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
    status = example(version["schema"]["openAPIV3Schema"]["properties"]["status"])
    path = scalable_apis(namespace, "shop", "status")
    client.do("PATCH", path, {"status": status}, kind=MERGE, fieldValidation="Strict")
    stored = client.do("GET", path)["status"]
    assert stored == status
    assert Status.model_validate(stored, by_alias=True, by_name=False).model_dump(mode="json", by_alias=True) == status


def example(schema: Object) -> Any:
    """A value with every field, each list with one entry."""
    if "enum" in schema:
        return schema["enum"][-1]
    if schema["type"] == "object":
        return {name: example(field) for name, field in schema["properties"].items()}
    if schema["type"] == "array":
        return [example(schema["items"])]
    texts = {"date-time": "2026-11-24T10:00:02Z"}
    return {"integer": 7, "boolean": True}.get(schema["type"]) or texts.get(schema.get("format", ""), "text")


def test_the_crd_has_no_warnings(client):
    """The API server takes the CRD without a word: no unknown format, no field it would drop."""
    crd = yaml.safe_load(CRD.read_text())
    path = f"{CRDS}/{crd['metadata']['name']}"
    answer = client.ask("PATCH", path, crd, kind=MERGE, dryRun="All", fieldValidation="Strict")
    assert answer.is_success, answer.text
    assert "warning" not in answer.headers
