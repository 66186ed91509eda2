"""What holds in every rendering of both charts: platform.md's table of topics and reliability.md's of hardening, row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.harness import helm
from tests.unit.charts.scenes import DEFAULT, each, scene, values
from tests.unit.charts.test_objects import fits

CONTROL: Final = 9180
STORES: Final = ("-postgres", "-valkey")
"""What the development stores' names end with: other people's images, not ours to give probes of ours."""
GRACE_BESIDE_DRAIN_S: Final = 10  # preStop's 5 and 5 of slack
PULLED_BY: Final = re.compile(r"^[a-z0-9.:-]+/[a-z0-9._/-]+(:[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})$")


def ours(rendered: helm.Rendered) -> Iterator[helm.Object]:
    yield from rendered.kind("Deployment")


@each
def test_pods_are_restricted(chart: str, name: str) -> None:
    """A namespace that enforces Pod Security's restricted profile admits each pod; its root is read-only, but in `dev`."""
    pods = list(helm.pods(scene(chart, name)))
    assert pods
    for _, pod in pods:
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod["spec"].keys()
        assert not [v for v in pod["spec"].get("volumes") or () if "hostPath" in v]
        for container in helm.containers(pod):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert "runAsUser" not in own
            assert own["readOnlyRootFilesystem"] is not (name == "dev" and "scalable-api-" in container["image"])


@pytest.mark.parametrize("chart", DEFAULT)
def test_pods_run_as_65532(chart: str) -> None:
    """Our images' user has a number, so that a kubelet can tell it is not root."""
    for deployment in ours(scene(chart, DEFAULT[chart])):
        assert deployment["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == 65532


@each
def test_resources(chart: str, name: str) -> None:
    """Each container asks for CPU and memory and has a memory limit; a CPU limit, which is latency, has who sets one."""
    for _, pod in helm.pods(scene(chart, name)):
        for container in helm.containers(pod):
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            assert ("cpu" in container["resources"]["limits"]) <= ("'cpu'" in str(values(chart, name)))


@each
def test_images(chart: str, name: str) -> None:
    """Each image is named whole, with a tag that is not `latest`, or a digest."""
    for _, pod in helm.pods(scene(chart, name)):
        for container in helm.containers(pod):
            assert PULLED_BY.match(container["image"]) or container["image"] in str(values(chart, name))
            assert not container["image"].endswith(":latest")


@each
def test_service_links_are_off(chart: str, name: str) -> None:
    """A Service named redis would set REDIS_PORT, the release's own SCALABLE_API_…: settings would refuse both."""
    for _, pod in helm.pods(scene(chart, name)):
        assert pod["spec"]["enableServiceLinks"] is False


@each
def test_tmp_is_bounded(chart: str, name: str) -> None:
    """Where a process may write is /tmp, an emptyDir of 64 Mi; its own volumes, it mounts read-only."""
    for owner, pod in helm.pods(scene(chart, name)):
        volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
        assert volumes["tmp"] == {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}
        if owner["kind"] != "StatefulSet":
            mounts = [m for c in helm.containers(pod) for m in c["volumeMounts"]]
            assert all(m.get("readOnly") or m["mountPath"] == "/tmp" for m in mounts)


@each
def test_tokens(chart: str, name: str) -> None:
    """An API token has who asks the API: the four processes that find each other, the operator, the bootstrap hook."""
    for owner, pod in helm.pods(scene(chart, name)):
        wants = owner["kind"] == "Deployment" or owner["metadata"]["name"].endswith("-bootstrap")
        assert pod["spec"]["automountServiceAccountToken"] is wants
    for account in scene(chart, name).kind("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@each
def test_probes(chart: str, name: str) -> None:
    """Startup and liveness ask /livez, readiness /readyz, on the control port and in 2 s: no probe asks a store."""
    for deployment in ours(scene(chart, name)):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        for probe, path in (("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")):
            found = container[f"{probe}Probe"]
            assert found["httpGet"] == {"path": path, "port": "control"}
            assert found["timeoutSeconds"] == 2
        assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 60
        liveness, readiness = container["livenessProbe"], container["readinessProbe"]
        assert (liveness["periodSeconds"], liveness["failureThreshold"]) == (10, 3)
        assert (readiness["periodSeconds"], readiness["failureThreshold"]) == (2, 2)


@each
def test_stopping(chart: str, name: str) -> None:
    """A pod is told to go, then given 5 s to be forgotten, and is killed no earlier than it can have drained."""
    for deployment in ours(scene(chart, name)):
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        env = {e["name"]: e.get("value") for e in container["env"]}
        if env.get("POD_NAMESPACE") is not None or "POLLS_PER_SECOND" in env:
            continue  # the operator serves nobody
        assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
        config = {k: v for m in scene(chart, name).kind("ConfigMap") for k, v in (m.get("data") or {}).items()}
        drain = [
            float(env.get(n) or config.get(n) or d) for n, d in (("DRAIN_DELAY_SECONDS", 5), ("DRAIN_SECONDS", 30))
        ]
        assert spec["terminationGracePeriodSeconds"] > sum(drain) + GRACE_BESIDE_DRAIN_S


@each
def test_rollouts(chart: str, name: str) -> None:
    """A rollout takes nobody away before the next one is ready; an eviction takes one at a time, never blocked by a sick pod."""
    rendered = scene(chart, name)
    for deployment in ours(rendered):
        strategy = deployment["spec"]["strategy"]
        assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}}
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        (budget,) = [b for b in rendered.kind("PodDisruptionBudget") if fits(b["spec"]["selector"], labels)]
        assert budget["spec"]["maxUnavailable"] == 1 or name == "everything"
        assert "minAvailable" not in budget["spec"]
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@each
def test_spread(chart: str, name: str) -> None:
    """Pods spread over zones and hosts as far as can be, each rollout by itself."""
    for deployment in ours(scene(chart, name)):
        template = deployment["spec"]["template"]
        rows = template["spec"]["topologySpreadConstraints"]
        if "topologySpreadConstraints" in str(values(chart, name)):
            assert len(rows) == 1
            continue
        assert [r["topologyKey"] for r in rows] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        for row in rows:
            assert row["whenUnsatisfiable"] == "ScheduleAnyway"
            assert row["matchLabelKeys"] == ["pod-template-hash"]
            assert fits(row["labelSelector"], template["metadata"]["labels"])


@each
def test_selectors(chart: str, name: str) -> None:
    """Selectors hold name, instance and component, nothing that an upgrade may change."""
    rendered = scene(chart, name)
    kept = {f"app.kubernetes.io/{label}" for label in ("name", "instance", "component")}
    for thing in rendered.kind("Deployment", "StatefulSet"):
        assert thing["spec"]["selector"]["matchLabels"].keys() == kept
        assert thing["spec"]["selector"].keys() == {"matchLabels"}
        assert "helm.sh/chart" not in thing["spec"]["template"]["metadata"]["labels"]
    for service in rendered.kind("Service"):
        assert service["spec"]["selector"].keys() == kept


@each
def test_control_ports(chart: str, name: str) -> None:
    """The control port is on headless `-control` Services alone, which can become no load balancer, and leads to unready pods too."""
    rendered = scene(chart, name)
    for service in rendered.kind("Service"):
        control = [p for p in service["spec"]["ports"] if p["name"] == "control" or p["port"] == CONTROL]
        assert bool(control) == service["metadata"]["name"].endswith("-control")
        if control:
            assert service["spec"]["clusterIP"] == "None"
            assert service["spec"]["publishNotReadyAddresses"] is True
            assert service["metadata"]["labels"]["scalableapi.io/scrape"] == "true"
            assert service["spec"]["ports"] == control
    assert len(list(ours(rendered))) == len(
        [s for s in rendered.kind("Service") if "-control" in s["metadata"]["name"]]
    )
