"""The node is one: pods of a real image run under the restricted profile, Services and names resolve, claims bind, nothing is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.harness.wait import eventually
from tests.node import namespaces
from tests.node.conftest import BUSYBOX, Kubectl
from tests.node.settings import ADDRESS

ROOT = Path(__file__).resolve().parents[2]
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
WEB = "mkdir -p /data/www && hostname > /data/www/name && exec httpd -f -p 8080 -h /data/www"


@pytest.fixture(scope="module")
def web(kubectl: Kubectl) -> None:
    """Two web servers with a disk, behind a Service with a port on the node, in a restricted namespace."""
    container: dict[str, Any] = {
        "name": "web",
        "image": BUSYBOX,
        "command": ["sh", "-c", WEB],
        "securityContext": RESTRICTED,
    }
    container |= {"readinessProbe": {"httpGet": {"path": "/name", "port": 8080}, "periodSeconds": 1}}
    container |= {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    labels = {"app": "web"}
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "web", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "web", "namespace": "web"},
            "spec": {
                "replicas": 2,
                "serviceName": "web",
                "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "securityContext": {"fsGroup": 65532},
                        "terminationGracePeriodSeconds": 0,
                        "containers": [container],
                    },
                },
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "web"},
            "spec": {"type": "NodePort", "selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    kubectl("-n", "web", "rollout", "status", "statefulset/web", "--timeout=60s")


def port(kubectl: Kubectl) -> str:
    return kubectl("-n", "web", "get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")


@pytest.mark.usefixtures("web")
async def test_a_service_reaches_every_pod_from_outside(kubectl: Kubectl) -> None:
    """Through the node's port each of the two pods answers, over new connections."""
    url = f"http://{ADDRESS}:{port(kubectl)}/name"

    def both() -> bool:
        return {httpx.get(url, trust_env=False).text.strip() for _ in range(50)} == {"web-0", "web-1"}

    assert await eventually(both, 5, "kube-proxy knows both pods, at most a second after they are ready")


@pytest.mark.usefixtures("web")
def test_a_pod_finds_services_by_name(kubectl: Kubectl) -> None:
    """Inside, the Service's name resolves and answers, even when the answer is the asking pod itself."""
    ask = "for i in $(busybox seq 20); do wget -qO- http://web.web.svc.cluster.local/name; done"
    told = kubectl("-n", "web", "exec", "web-0", "--", "sh", "-c", ask)
    assert set(told.split()) == {"web-0", "web-1"}


@pytest.mark.usefixtures("web")
def test_a_pod_reaches_the_api_server_by_its_name(kubectl: Kubectl) -> None:
    """The Service `kubernetes` leads to the API server, whose certificate the mounted authority signs."""
    ask = "busybox nc -w 2 kubernetes.default.svc 443 < /dev/null && echo there; cat /var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    told = kubectl("-n", "web", "exec", "web-0", "--", "sh", "-c", ask)
    assert told.startswith("there\n-----BEGIN CERTIFICATE-----")


@pytest.mark.usefixtures("web")
def test_restricted_means_restricted(kubectl: Kubectl) -> None:
    """The pods run as 65532 with a root they cannot write; a pod that asks for more is not admitted."""
    told = kubectl("-n", "web", "exec", "web-1", "--", "sh", "-c", "id -u; echo x > /x || echo refused")
    assert told.split() == ["65532", "refused"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root", "namespace": "web"}}
    pod |= {"spec": {"containers": [{"name": "root", "image": BUSYBOX}]}}
    with pytest.raises(AssertionError, match='violates PodSecurity "restricted:latest"'):
        kubectl("apply", "-f", "-", stdin=yaml.safe_dump(pod))


def test_a_killed_run_leaves_no_process_and_no_mount(programs: dict[str, Path]) -> None:
    """SIGKILL of the test run takes every program, pod and mount of its node with it: the kernel sees to it."""
    run = [sys.executable, "-m", "tests.node", "sh", "-c", "kubectl get node -o name; exec sleep 600"]
    with subprocess.Popen(run, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "node/node1\n"
        state = state_of(process.pid)
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while left := commands(state):
        assert time.monotonic() < deadline, left
    assert str(state) not in Path("/proc/mounts").read_text()
    for group in namespaces.CGROUPS.glob(f"**/{state.name}"):
        namespaces._remove(group)  # folders nobody is in: all that is left, with the temporary one
    subprocess.run(["rm", "-rf", str(state)], check=True)


def state_of(pid: int) -> Path:
    """The temporary folder of the node whose starter has that pid."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = [Path(f"/proc/{child}/cmdline").read_text() for child in children]
    flag = next(word for line in lines for word in line.split("\0") if word.startswith("--kubeconfig="))
    return Path(flag.partition("=")[2]).parent


def commands(state: Path) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_text()
        except OSError:  # it has just ended
            continue
        if str(state) in line:
            found.append(line.replace("\0", " "))
    return found
