"""What is wrong with an object, by the schema of its kind: Kubernetes' own of four minors, the CRD's, or a shape of ours.

Kubernetes' schemas are those of the package kubernetes-validate, strict: an unknown field is refused, as by
`kubectl apply --validate=strict`. Its own `validate` reads 2 MB for each object; here each kind's validator is made
once. For other people's kinds (Prometheus operator, Gateway API, KEDA) shapes.yaml holds what we write of them.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate
import yaml
from referencing import Registry, Resource

from services.schema.crd import GROUP, crd
from services.schema.scalable_api import ManifestError, load_manifest

MINORS: Final = ("1.34", "1.35", "1.36", "1.37")
SCHEMAS: Final = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
SHAPES: Final = Path(__file__).parent / "shapes.yaml"


def complaints(thing: dict[str, Any]) -> list[str]:
    """One line per fault, with the minors that find it; none: the API servers take it."""
    if thing["apiVersion"].startswith(f"{GROUP}/"):
        return [*_errors(_own(), thing), *_model(thing)]
    shape = _shapes().get(f"{thing['apiVersion']}/{thing['kind']}")
    if shape is not None:
        return list(_errors(shape, thing))
    found: dict[str, list[str]] = {}
    for minor in MINORS:
        for line in _errors(_kubernetes(minor, thing["apiVersion"], thing["kind"]), thing):
            found.setdefault(line, []).append(minor)
    return [f"{line} ({', '.join(minors)})" for line, minors in found.items()]


def _errors(validator: Any, thing: dict[str, Any]) -> Iterator[str]:
    for error in validator.iter_errors(thing):
        yield f"{thing['kind']}/{thing['metadata']['name']}: {error.json_path}: {error.message[:300]}"


def _model(thing: dict[str, Any]) -> list[str]:
    try:
        load_manifest(yaml.safe_dump(thing).encode())
    except ManifestError as error:
        return [f"{thing['kind']}/{thing['metadata']['name']}: {error}"]
    return []


@functools.cache
def _own() -> Any:
    """A structural schema is JSON schema of draft 4, whose exclusiveMinimum is a boolean too."""
    return jsonschema.Draft4Validator(crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


@functools.cache
def _shapes() -> dict[str, Any]:
    shapes = yaml.safe_load(SHAPES.read_text())
    return {name: jsonschema.Draft202012Validator(shape) for name, shape in shapes.items() if not name.startswith("x-")}


@functools.cache
def _kubernetes(minor: str, api_version: str, kind: str) -> Any:
    """Raises LookupError for a kind that this minor doesn't serve."""
    group = re.sub(r"^([^./]*)(\.[^/]*)?/", r"\1-", api_version)
    file = SCHEMAS / f"v{minor}.0-local-strict" / f"{kind.lower()}-{group}.json"
    if not file.exists():
        raise LookupError(f"Kubernetes {minor} serves no {kind} of {api_version}; is it a kind for shapes.yaml?")
    schema = json.loads(file.read_text())
    return jsonschema.Draft202012Validator(schema, registry=_registry(minor))


@functools.cache
def _registry(minor: str) -> Registry[Any]:
    file = SCHEMAS / f"v{minor}.0-local-strict" / "_definitions.json"
    return Resource.from_contents(json.loads(file.read_text())) @ Registry()
