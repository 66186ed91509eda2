"""A real node: containerd, runc, CNI, kubelet, kube-proxy and CoreDNS beside a control plane, in namespaces of their own.

Needs root on Linux and Debian's packages of NEEDS (installed where apt-get is). A developer's way in is `python -m tests.node`: a shell
with kubectl, helm and KUBECONFIG set, and nothing left when it ends.

Callers: tests/node/conftest.py, tests/node/__main__.py, tests/node/e2e.py.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from services.cli.embedded.child import end, spawn, tail
from tests.cluster.binaries import MissingNeedError
from tests.cluster.client import Client
from tests.cluster.control_plane import ControlPlane, StartError, control_plane
from tests.load.bench.packages import Need, install_missing
from tests.node import archive, namespaces, settings
from tests.node.settings import ADDRESS

NEEDS: Final = (
    Need("containerd", ("containerd",)),
    Need("runc", ("runc",)),
    Need("nft", ("nftables",)),
    Need("ip", ("iproute2",)),
    Need("ptp", ("containernetworking-plugins",), (Path("/usr/lib/cni/ptp"),)),
)
NAME: Final = "node1"
START_S: Final = 60.0
VOLUMES: Final = 12  # claims of all installs of a run; there is no provisioner


@dataclass(frozen=True, slots=True)
class Node:
    """A running one; `plane.kubeconfig` is the administrator's, good in its network alone."""

    plane: ControlPlane
    state: Path

    @property
    def environment(self) -> dict[str, str]:
        """For kubectl and helm."""
        return {"KUBECONFIG": str(self.plane.kubeconfig), "HOME": str(self.plane.folder)}

    def load(self, image: Path) -> None:
        """Loads an image archive, as its name in it."""
        line = ["ctr", f"--address={settings.socket(self.state)}", "--namespace=k8s.io", "images", "import", str(image)]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def node(programs: Mapping[str, Path]) -> Iterator[Node]:
    """Starts one and waits until it is ready. The calling thread is in its network until the end."""
    install()
    with contextlib.ExitStack() as running:
        running.enter_context(namespaces.network(ADDRESS))
        plane = running.enter_context(control_plane(programs, ADDRESS))
        state = plane.folder / "node"
        for folder in (state, state / "logs"):
            folder.mkdir()
        group = running.enter_context(namespaces.control_groups(plane.folder.name))
        settings.write(state, plane.kubeconfig, group)
        inside = running.enter_context(namespaces.processes(state / "logs"))
        made = Node(plane, state)

        def start(name: str, *line: str | Path) -> subprocess.Popen[bytes]:
            process = spawn([*line], state / "logs" / f"{name}.log", death=signal.SIGKILL)
            running.callback(end, process, signal.SIGKILL, 10)
            return process

        containerd = start("containerd", *inside, "containerd", "--config", state / "containerd.toml")
        _until(lambda: _answers(state), containerd, state)
        _pause(programs["pause"], made)
        kubelet = start("kubelet", *inside, *_kubelet(programs["kubelet"], made))
        proxy = start(
            "kube-proxy", programs["kube-proxy"], f"--config={state / 'kube-proxy.yaml'}", f"--hostname-override={NAME}"
        )
        start("coredns", programs["coredns"], "-conf", state / "Corefile")
        with plane.client() as client:
            _until(lambda: _ready(client), kubelet, state)
            _until(_translates, proxy, state)
            _volumes(client, state)
        yield made


def install() -> None:
    """What a node runs, installed where it is missing; raises MissingNeedError where this cannot be."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise MissingNeedError(
            "a real node needs Linux and root: sudo ./dev e2e, or --kubeconfig FILE for a cluster that runs"
        )
    require(NEEDS)


def require(needs: Iterable[Need]) -> None:
    """Installs what is missing; raises MissingNeedError where it still is."""
    install_missing(needs)
    if commands := [need.command for need in needs if not need.present]:
        raise MissingNeedError("; ".join(commands))


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes], state: Path) -> None:
    deadline = time.monotonic() + START_S
    name = Path(str(process.args[-1])).stem if isinstance(process.args, list) else ""
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if ready():
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise StartError(f"{name} ended with {process.wait(0.05)}:\n{_logs(state)}")
    raise StartError(f"{name} was not ready within {START_S:.0f} s:\n{_logs(state)}")


def _logs(state: Path) -> str:
    return "\n".join(f"== {log.stem}\n{tail(log)}" for log in sorted((state / "logs").glob("*.log")))


def _answers(state: Path) -> bool:
    line = ["ctr", f"--address={settings.socket(state)}", "version"]
    return subprocess.run(line, check=False, capture_output=True).returncode == 0


def _ready(client: Client) -> bool:
    answer = client.ask("GET", f"/api/v1/nodes/{NAME}")
    conditions: list[dict[str, Any]] = answer.json()["status"].get("conditions", []) if answer.is_success else []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _translates() -> bool:
    """kube-proxy has written its first rules."""
    return httpx.get("http://127.0.0.1:10256/healthz", trust_env=False).is_success


def _pause(program: Path, made: Node) -> None:
    root = made.state / "pause"
    root.mkdir()
    shutil.copy(program, root / "pause")
    packed = made.state / "pause.tar"
    archive.pack(root, settings.PAUSE, packed, Entrypoint=["/pause"])
    made.load(packed)


def _kubelet(program: Path, made: Node) -> list[str | Path]:
    return [
        program,
        f"--config={made.state / 'kubelet.yaml'}",
        f"--kubeconfig={made.plane.kubeconfig}",
        f"--root-dir={made.state / 'kubelet'}",
        f"--cert-dir={made.state / 'kubelet-pki'}",
        f"--hostname-override={NAME}",
        f"--node-ip={ADDRESS}",
    ]


def _volumes(client: Client, state: Path) -> None:
    """Folders of this node for claims, of the default class: local volumes, which get a pod's fsGroup as a disk does."""
    client.do("POST", "/apis/storage.k8s.io/v1/storageclasses", STORAGE_CLASS)
    for number in range(VOLUMES):
        folder = state / "volumes" / str(number)
        folder.mkdir(parents=True)
        client.do("POST", "/api/v1/persistentvolumes", _volume(f"folder-{number}", folder))


STORAGE_CLASS: Final[dict[str, Any]] = {
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "kubernetes.io/no-provisioner",
    "volumeBindingMode": "WaitForFirstConsumer",
}


def _volume(name: str, folder: Path) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]}
    return {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "2Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "standard",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
