"""The file as an object: generation, refusal without harm, the last accepted spec."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.controller.backends.manifest import open_manifest
from services.schema.scalable_api import ManifestError
from services.schema.status import StoredObject

TEXT = """
apiVersion: scalableapi.io/v1
kind: ScalableApi
metadata: {name: shop}
spec:
  components: [{name: api, maxReplicas: 5}]
"""


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "shop.yaml"
    found.write_text(TEXT)
    return found


def edit(path: Path, text: str) -> None:
    """Write, and let the time differ whatever the clock's resolution."""
    path.write_text(text)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000))


def test_generation_grows_with_the_spec_alone(path, tmp_path):
    """A comment, an annotation: the same generation; another spec: the next one; untouched: no look."""
    made = open_manifest(path, tmp_path, "t")
    assert (made.api.generation, made.look()) == (1, False)
    edit(path, TEXT + "# a comment\n")
    assert (made.look(), made.api.generation) == (False, 1)
    edit(path, TEXT.replace("{name: shop}", "{name: shop, annotations: {a: b}}"))
    assert (made.look(), made.api.generation, made.api.annotations) == (True, 1, {"a": "b"})
    edit(path, TEXT.replace("5", "6"))
    assert (made.look(), made.api.generation, made.metadata.generation) == (True, 2, 2)


def test_a_bad_text_keeps_the_last_spec(path, tmp_path):
    """Errors name the place; a missing file and another name are errors too; a good text clears them."""
    made = open_manifest(path, tmp_path, "t")
    spec = made.api.spec
    edit(path, TEXT.replace("5", "0"))
    assert made.look()
    assert (made.api.spec, made.api.generation) == (spec, 1)
    assert made.api.errors[0].startswith("line 6: spec.components[0].maxReplicas")
    path.unlink()
    assert made.look()
    assert "No such file" in made.api.errors[0]
    edit(path, TEXT.replace("shop", "other"))
    assert made.look()
    assert "restart to change it" in made.api.errors[0]
    edit(path, TEXT)
    assert (made.look(), made.api.errors, made.api.generation) == (True, (), 1)


def test_identity_survives_a_restart(path, tmp_path):
    """uid, creation and generation come from the state file; a changed spec is the next generation."""
    first = open_manifest(path, tmp_path, "t1")
    stored = StoredObject(metadata=first.metadata, spec=first.api.spec)
    (tmp_path / "shop.json").write_text(stored.model_dump_json(by_alias=True))
    again = open_manifest(path, tmp_path, "t2")
    assert (again.api.key, again.api.created_at, again.api.generation) == (first.api.key, "t1", 1)
    edit(path, TEXT.replace("5", "6"))
    assert open_manifest(path, tmp_path, "t3").api.generation == 2
    (tmp_path / "shop.json").write_text("{")
    assert open_manifest(path, tmp_path, "t4").api.created_at == "t4"


def test_a_bad_manifest_at_start_is_the_callers(path, tmp_path):
    """Nothing is in force yet: nothing should start."""
    path.write_text("a: 1")
    with pytest.raises(ManifestError):
        open_manifest(path, tmp_path, "t")
