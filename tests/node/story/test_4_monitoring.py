"""A real Prometheus, given what the charts' ServiceMonitors select."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.harness.prometheus import prometheus, rules
from tests.harness.wait import eventually
from tests.node.story.cluster import NAMESPACE, SYSTEM, Cluster, Object
from tests.node.story.conftest import Platform, shown

Target = tuple[str, str, dict[str, str]]
MONITOR = "--show-only=templates/servicemonitor.yaml"
CHARTS = {
    SYSTEM: f"helm template scalable-api-operator charts/scalable-api-operator -n {SYSTEM} --set monitoring.enabled=true",
    NAMESPACE: f"helm template scalable-api charts/scalable-api -n {NAMESPACE} --set monitoring.enabled=true "
    "--set devDatastores.enabled=true",
}


def targets(cluster: Cluster) -> Iterator[Target]:
    """(job, address, labels) of each endpoint that a monitor's selector and port name, as the Prometheus operator would find them."""
    for namespace, line in CHARTS.items():
        monitor = yaml.safe_load(cluster.helm(line, MONITOR))
        wanted = monitor["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in wanted.items())
        for service in cluster.items("services", f"--selector={selector}", namespace=namespace):
            job = service["metadata"]["labels"][monitor["spec"]["jobLabel"]]
            name = service["metadata"]["name"]
            slices = cluster.items(
                "endpointslices", f"--selector=kubernetes.io/service-name={name}", namespace=namespace
            )
            for each in slices:
                yield from addresses(each, job, {e["port"] for e in monitor["spec"]["endpoints"]})


def addresses(found: Object, job: str, names: set[str]) -> Iterator[Target]:
    ports = [port["port"] for port in found["ports"] if port["name"] in names]
    for endpoint in found["endpoints"] or ():
        labels = {"namespace": found["metadata"]["namespace"], "pod": endpoint["targetRef"]["name"]}
        yield from ((job, f"{endpoint['addresses'][0]}:{port}", labels) for port in ports)


async def test_prometheus_reads_every_pod_and_rule(platform: Platform) -> None:
    """Every pod of both releases is a target and up; each alert's and recording's expression evaluates on what they say."""
    cluster = platform.cluster
    found = list(targets(cluster))
    host, _, port = found[0][1].partition(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
    except OSError:
        pytest.skip("this machine does not reach the cluster's pods: run it on the test node, ./dev e2e")
    pods = cluster.pods(namespace=SYSTEM) + [
        pod for name in ("gateway", "balancer", "api") for pod in cluster.pods(name)
    ]
    assert {labels["pod"] for _, _, labels in found} == {pod["metadata"]["name"] for pod in pods}
    async with prometheus(found) as server:

        async def up() -> bool:
            series = await server.series("up == 1")
            return {one["metric"]["pod"] for one in series} == {labels["pod"] for _, _, labels in found}

        await eventually(up, 30, "every pod is up", 0.5)
        answers: dict[str, list[Any]] = {}
        for rule in rules():
            answers[rule.get("alert") or rule["record"]] = list(await server.series(rule["expr"]))
        alerts = [rule["alert"] for rule in rules() if "alert" in rule]
    shown(f"{len(found)} pods up in jobs {sorted({job for job, _, _ in found})};")
    shown(
        f"{len(answers)} expressions evaluate; of {len(alerts)} alerts true now:",
        [name for name in alerts if answers[name]],
    )
