"""helm install, and the first requests."""

from __future__ import annotations

import time

import pytest

from tests.harness.wait import eventually
from tests.node.story.cluster import COMPONENTS, NAME, SHOW, SYSTEM, Cluster, Object, condition
from tests.node.story.conftest import Platform, shown

MOST_MB = {"gateway": 210, "balancer": 200, "api": 215, "operator": 295}  # a tenth above what they are


def test_both_charts_are_ready(platform: Platform) -> None:
    """`helm install --wait` returns when every pod is Ready and the ScalableApi says so; each pod is admitted as restricted, with a root
    that it cannot write.
    """
    cluster = platform.cluster
    pods = cluster.pods(namespace=SYSTEM) + cluster.pods()
    assert [pod["metadata"]["name"] for pod in pods if condition(pod, "Ready") != "True"] == []
    assert condition(cluster.get("scalableapi", NAME), "Ready") == "True"
    containers = [c for pod in pods for c in pod["spec"]["containers"] + pod["spec"].get("initContainers", [])]
    assert {c["securityContext"]["readOnlyRootFilesystem"] for c in containers} == {True}
    starts = {name: max(start_s(pod) for pod in cluster.pods(name)) for name in COMPONENTS}
    starts["operator"] = max(start_s(pod) for pod in cluster.pods(namespace=SYSTEM))
    figures = {what: round(s, 1) for what, s in platform.seconds.items()}
    shown(
        f"{len(pods)} pods Ready, all read-only; --wait returned after (s)", figures, "slowest pod to Ready (s)", starts
    )


def test_the_platform_shows_itself(platform: Platform) -> None:
    """README's last command: one row, whose columns say that the ScalableApi is Ready."""
    program, *words = SHOW.split()
    assert program == "kubectl"
    titles, row = platform.cluster.kubectl(*words).splitlines()
    assert (titles.split()[0], row.split()[0]) == ("NAME", NAME)
    assert row.split()[titles.split().index("READY")] == "True", row
    shown(row)


async def test_images_are_small(platform: Platform) -> None:
    """As the node has them, unpacked by nobody: what a registry would hold, uncompressed."""
    megabytes: dict[str, int] = {}

    def told() -> bool:
        for image in platform.cluster.items("nodes")[0]["status"]["images"]:
            for service in MOST_MB:
                if any(f"/scalable-api-{service}:" in name for name in image["names"] or ()):
                    megabytes[service] = image["sizeBytes"] // 1_000_000
        return megabytes.keys() == MOST_MB.keys()

    await eventually(told, 90, "the node tells its images")
    shown("images (MB)", megabytes)
    assert {service: size for service, size in megabytes.items() if size > MOST_MB[service]} == {}


def start_s(pod: Object) -> float:
    """From its first container's start to Ready, as kubelet tells it, in whole seconds."""
    began = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    ready = next(c["lastTransitionTime"] for c in pod["status"]["conditions"] if c["type"] == "Ready")
    return seconds(ready) - seconds(began)


def seconds(stamp: str) -> float:
    return time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))


@pytest.mark.parametrize(("release", "namespace"), [("scalable-api-operator", SYSTEM), (NAME, "scalable-api")])
@pytest.mark.usefixtures("platform")
def test_helm_test_passes(cluster: Cluster, release: str, namespace: str) -> None:
    """The charts' own tests."""
    began = time.monotonic()
    told = cluster.helm(f"helm test {release} -n {namespace} --timeout 120s")
    assert "Phase:          Succeeded" in told, told
    shown(f"helm test {release}: {time.monotonic() - began:.1f} s")


async def test_the_101st_anonymous_request_is_refused(platform: Platform) -> None:
    """From outside, through gateway, balancer and api to Postgres: 100 requests of an address in a minute pass, the 101st is refused."""
    await eventually(lambda: time.time() % 60 < 45, 20, "a fresh enough minute")
    with platform.http() as http:
        answers = [http.get("/api/v1/resources") for _ in range(101)]
    assert [a.status_code for a in answers] == [200] * 100 + [429], [a.status_code for a in answers]
    assert {a.headers["x-served-by"] for a in answers[:100]} == {
        p["metadata"]["name"] for p in platform.cluster.pods("api")
    }
    assert (
        0 < int(answers[100].headers["retry-after"]) <= 65
    )  # the window, and five seconds of jitter at most (contract.md)
    times = sorted(a.elapsed.total_seconds() for a in answers[:100])
    shown(
        f"100 times 200, then 429 with retry-after {answers[100].headers['retry-after']} s; median {times[50] * 1000:.1f} ms"
    )


def test_a_write_is_in_postgres(platform: Platform, key: dict[str, str]) -> None:
    """What a key writes is read back by every api: it is in the database."""
    with platform.http() as http:
        made = http.post(
            "/api/v1/resources", headers=key, json={"name": "story", "type": "document", "content": "once"}
        )
        assert made.status_code == 201, made.text
        read = [http.get(made.headers["location"], headers=key) for _ in range(20)]
    assert {r.json()["resource"]["content"] for r in read} == {"once"}
    assert len({r.headers["x-served-by"] for r in read}) == 2
