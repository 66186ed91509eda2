"""kubectl apply, scaling with the load, a pod that fails."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime

import pytest
import yaml

from tests.node.story.cluster import NAME, ROOT, Cluster, Object, condition
from tests.node.story.conftest import Platform, shown
from tests.node.story.load import load, told, until

SAMPLE = ROOT / "manifests" / "samples" / "quickstart.yaml"
# Listens where an api does, says that it is ready, and answers every request with 503.
BROKEN = """
import http.server
class Broken(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 3001), Broken).serve_forever()
"""


async def test_a_sample_changes_a_tier(platform: Platform) -> None:
    """`kubectl apply` of a sample's tiers, under the platform's name and with another quota: every gateway and balancer pod acknowledges
    them within five seconds.
    """
    cluster = platform.cluster
    sample = yaml.safe_load(SAMPLE.read_text())
    sample["spec"]["tiers"]["definitions"][0]["policies"][0]["quota"] = 120
    manifest = {**sample, "metadata": {"name": NAME}, "spec": {"tiers": sample["spec"]["tiers"]}}
    before = cluster.status()["tiers"]["activeRevision"]

    def acked() -> bool:
        tiers = cluster.status()["tiers"]
        return bool(tiers["activeRevision"] > before and tiers["pods"]["acked"] == tiers["pods"]["total"] == 4)

    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    took = await until(acked, 20, "every pod has it")
    assert condition(cluster.get("scalableapi", NAME), "TiersEnforced") == "True"
    shown(f"kubectl apply → acked by 2 gateways and 2 balancers: {took:.1f} s (bound 5)")
    assert took <= 5


async def test_the_api_follows_the_load(platform: Platform, key: dict[str, str]) -> None:
    """55 requests a second, for which two apis of 20 are too few: more pods, with a reason; less load: two again, drained; 0 failed."""
    cluster = platform.cluster
    async with load(platform, key, 55, 150) as high:
        up = await until(lambda: replicas(cluster) > 2, 60, "more apis are asked for")
        row = (await asyncio.to_thread(cluster.kubectl, "get", "sapi", NAME)).splitlines()
        reason = (await asyncio.to_thread(cluster.component, "api"))["lastDecision"]
        ready = up + await until(lambda: len(cluster.ready("api")) > 2, 80, "they are Ready")
    async with load(platform, key, 10, 150) as low:
        down = await until(lambda: replicas(cluster) == 2 == len(cluster.pods("api")), 110, "two again")
    shown(*row)
    shown("decision", {k: reason[k] for k in ("direction", "reason", "message") if k in reason})
    shown(f"load → scaled up {up:.1f} s, Ready {ready:.1f} s; less load → two again {down:.1f} s")
    shown(f"up: {told(high.report)}; down: {told(low.report)}")
    assert high.report.failed + low.report.failed == []
    assert {s.status for s in high.report.samples} == {200}


def replicas(cluster: Cluster) -> int:
    return int(cluster.get("deployment", f"{NAME}-api")["spec"]["replicas"])


@pytest.fixture
def broken(platform: Platform) -> Object:
    """A pod of the api's Service that fails: its image, labels and ports, another program."""
    api = platform.cluster.pods("api")[0]
    container = {
        k: v
        for k, v in api["spec"]["containers"][0].items()
        if k in {"image", "imagePullPolicy", "securityContext", "ports"}
    }
    labels = {k: v for k, v in api["metadata"]["labels"].items() if k != "pod-template-hash"}
    container |= {"name": "broken", "command": ["python3", "-c", BROKEN]}
    spec = {
        "securityContext": api["spec"]["securityContext"],
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "broken", "labels": labels}, "spec": spec}


async def test_a_failing_pod_opens_a_breaker(platform: Platform, key: dict[str, str], broken: Object) -> None:
    """A pod among the apis that answers 503: clients notice nothing, its breaker is in the status two seconds after it opened, and gone
    when the pod is.
    """
    cluster = platform.cluster
    async with load(platform, key, 50, 150) as running:
        await asyncio.to_thread(cluster.kubectl, "apply", "-f", "-", stdin=json.dumps(broken))
        await until(lambda: "broken" in {p["metadata"]["name"] for p in cluster.ready("api")}, 30, "it is Ready")
        await until(lambda: cluster.status()["circuits"]["open"] >= 1, 30, "its breaker is in the status")
        seen = time.time()
        items = (await asyncio.to_thread(cluster.status))["circuits"]["items"]
        opened = seen - datetime.fromisoformat(items[0]["since"]).timestamp()
        row = await asyncio.to_thread(cluster.kubectl, "get", "sapi", NAME, "--no-headers")
        await asyncio.to_thread(cluster.kubectl, "delete", "pod", "broken", "--wait=false")
        gone = await until(lambda: cluster.status()["circuits"]["open"] == 0, 60, "it is gone")
    shown(f"opened → in the status {opened:.1f} s (bound 2); pod deleted → gone {gone:.1f} s;", row.strip())
    shown(items[0], told(running.report))
    assert (items[0]["component"], items[0]["name"], len(items)) == ("balancer", "broken", 1)
    assert running.report.failed == []
    assert opened <= 5
