"""manifests/samples: each is a manifest that the models take, of the platform that README installs; quickstart's limits are the built-in ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from services.schema.scalable_api import load_manifest, tiers_spec
from services.schema.tiers import BUILT_IN
from tests.harness import helm, kubernetes_schemas

SAMPLES: Final = helm.ROOT / "manifests" / "samples"
OF_THE_CHART: Final = ("quickstart", "production", "recommend-only", "tier-canary", "scheduled", "external-hpa")
EVERY: Final = sorted(SAMPLES.glob("*.yaml"))


def sample(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text()))


def test_samples_are_there() -> None:
    """Those of the guides, and the shortest and the fullest manifest."""
    assert [f.stem for f in EVERY] == sorted([*OF_THE_CHART, "minimal", "full"])


@pytest.mark.parametrize("file", EVERY, ids=lambda file: file.stem)
def test_sample_is_valid(file: Path) -> None:
    """By the schema of its kind, and by the models' own rules; its comment says what it is for."""
    assert file.read_text().startswith("# ")
    assert kubernetes_schemas.complaints(sample(file)) == []


@pytest.mark.parametrize("name", OF_THE_CHART)
def test_sample_is_of_the_installed_platform(name: str) -> None:
    """It changes what `helm install scalable-api` or an overlay made: the chart's own ScalableApi, its Deployments, its control Secret."""
    api = sample(SAMPLES / f"{name}.yaml")
    made = helm.render("scalable-api", {"devDatastores": {"enabled": True}})
    (chart,) = made.kind("ScalableApi")
    assert (api["metadata"]["name"], api["metadata"]["namespace"]) == (
        chart["metadata"]["name"],
        chart["metadata"]["namespace"],
    )
    secret = chart["spec"]["control"]["tokenSecretRef"]
    assert secret == {
        "name": f"{api['metadata']['name']}-control",
        "key": "token",
    }  # what the sample's absent one means
    deployments = {d["metadata"]["name"] for d in made.kind("Deployment")}
    assert {f"{api['metadata']['name']}-{c['name']}" for c in api["spec"]["components"]} == deployments


def test_quickstart_limits_are_the_built_in_ones() -> None:
    """What README says of limits is true of both: 100 a minute for who is nobody."""
    api = load_manifest((SAMPLES / "quickstart.yaml").read_bytes())
    assert tiers_spec(api.spec) == BUILT_IN.spec
