"""Restarts and deleted pods, under load: what reliability.md promises of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.node.story.cluster import COMPONENTS, NAME, SYSTEM, Cluster
from tests.node.story.conftest import Platform, shown
from tests.node.story.load import during, load, told, until

OPERATOR = "scalable-api-operator"
RATE = 150  # two cores run the cluster, ten pods and the load
REQUESTS = 50_000


async def test_rollout_restart_loses_no_request(platform: Platform, key: dict[str, str]) -> None:
    """`kubectl rollout restart` of every component, one after the other and all again until 50 000 requests have passed: none failed."""
    cluster = platform.cluster
    restarts = 0
    async with load(platform, key, RATE, REQUESTS / RATE + 200) as running:
        while restarts == 0 or len(running.report.samples) < REQUESTS:
            for component in COMPONENTS:
                await during(restart, cluster, f"{NAME}-{component}", "scalable-api")
            await during(restart, cluster, OPERATOR, SYSTEM)
            restarts += 1
    shown(f"{restarts} restarts of each of 4 Deployments:", told(running.report))
    assert running.report.failed == [], str(running.report)
    assert running.report.unsent == 0
    assert len(running.report.ok) == len(running.report.samples)


def restart(cluster: Cluster, name: str, namespace: str) -> None:
    cluster.kubectl("rollout", "restart", f"deployment/{name}", namespace=namespace)
    cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=180s", namespace=namespace)


def leader(cluster: Cluster) -> str:
    lease = cluster.get("lease", OPERATOR, namespace=SYSTEM)
    return str(lease["spec"].get("holderIdentity") or "")


async def test_the_leaders_pod_is_deleted(platform: Platform, key: dict[str, str]) -> None:
    """Another leads within fifteen seconds; no request fails; every component keeps its replicas."""
    cluster = platform.cluster
    before = leader(cluster)
    async with load(platform, key, 50, 120) as running:
        await asyncio.to_thread(
            cluster.kubectl, "delete", "pod", before.split("_")[0], "--wait=false", namespace=SYSTEM
        )
        took = await until(lambda: leader(cluster) not in {"", before}, 40, "another leads")
        await until(lambda: len(cluster.ready(namespace=SYSTEM)) == 2, 60, "two operators are Ready")
    shown(f"leader deleted → another leads {took:.1f} s (bound 15);", told(running.report))
    assert running.report.failed == []
    assert took <= 15


@pytest.mark.parametrize("victim", ["gateway", "valkey", "postgres"])
async def test_a_pod_is_deleted(platform: Platform, key: dict[str, str], victim: str) -> None:
    """A gateway drains, Valkey is done without, and without Postgres known keys pass and cached answers serve: no request fails."""
    cluster = platform.cluster
    name = str(cluster.pods(victim)[0]["metadata"]["name"])
    uid = cluster.get("pod", name)["metadata"]["uid"]
    async with load(platform, key, 50, 120) as running:
        await until(lambda: len(running.report.samples) > 100, 30, "it is warm")
        await asyncio.to_thread(cluster.kubectl, "delete", "pod", name, "--wait=false")
        back = await until(replaced(cluster, victim, uid), 90, f"another {victim} is Ready")
        after = len(running.report.samples)
        await until(lambda: len(running.report.samples) > after + 250, 30, "it serves")
    shown(f"{victim} deleted → another Ready {back:.1f} s;", told(running.report))
    assert running.report.failed == [], str(running.report)


def replaced(cluster: Cluster, component: str, uid: str) -> Callable[[], bool]:
    wanted = 2 if component == "gateway" else 1

    def check() -> bool:
        ready = [pod["metadata"]["uid"] for pod in cluster.ready(component)]
        return len(ready) == wanted and uid not in ready

    return check
