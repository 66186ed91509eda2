"""`scalable-api up -f` on the samples: what is written for a cluster runs on one machine, with the counts that it asks for."""

from __future__ import annotations

import pytest
import yaml

from tests.harness.http import client
from tests.harness.up import ROOT, new_home, up

LIMITS = {
    "tier-canary": {"60", "100"},  # a gateway of the canary, or one that still has the built-in limits
    "scheduled": {"50", "100"},  # by the time its moment has come
}
"""What an anonymous client of the sample may ask a minute."""
pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("name", ["recommend-only", "tier-canary", "scheduled", "external-hpa", "production"])
async def test_sample_runs(name: str) -> None:
    """Each component starts with its floor, and a request goes through all of them under a limit of the sample."""
    file = ROOT / "manifests" / "samples" / f"{name}.yaml"
    spec = yaml.safe_load(file.read_text())["spec"]
    with new_home() as home:
        async with up(home, "-f", str(file)) as running, client(running.url, "127.0.0.11") as http:
            floors = {c["name"]: c.get("minReplicas", 1) for c in spec["components"]}
            assert all(running.said["processes"][c] >= floor for c, floor in floors.items())
            answer = await http.get("/api/v1/status")
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-limit"] in LIMITS.get(name, {"100"})
