"""What a real node needs beside the control plane: kubelet, kube-proxy, CoreDNS, and Helm in both majors, built from Go modules.

Each folder of go/ is a module of its own, as their dependencies disagree. Kubernetes stays on 1.34, the newest minor that runs on
cgroup v1 as on v2.

Callers: tests/node/node.py, tests/node/story; `python -m tests.node.binaries` builds ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.cluster import binaries
from tests.cluster.binaries import Pins

PINS: Final = Path(__file__).with_name("go")
MINOR: Final = "1.34"
KUBERNETES: Final = Pins(
    PINS / "kubernetes",
    {"kubelet": "k8s.io/kubernetes/cmd/kubelet", "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy"},
)
COREDNS: Final = Pins(PINS / "coredns", {"coredns": "."})
PAUSE: Final = Pins(PINS / "pause", {"pause": "."})
HELMS: Final[Mapping[str, Pins]] = {
    "4": Pins(PINS / "helm4", {"helm": "helm.sh/helm/v4/cmd/helm"}),
    "3": Pins(PINS / "helm3", {"helm": "helm.sh/helm/v3/cmd/helm"}),
}


def programs() -> dict[str, Path]:
    """The control plane's programs, kubelet, kube-proxy, CoreDNS, pause; raises MissingNeedError, CalledProcessError."""
    ours = [binaries.built(pins) for pins in (KUBERNETES, COREDNS, PAUSE)]
    return binaries.programs(MINOR) | ours[0] | ours[1] | ours[2]


def kubectl() -> Path:
    return binaries.programs(MINOR)["kubectl"]


def helm(major: str) -> Path:
    """Helm of that major: `3`, `4`."""
    return binaries.built(HELMS[major])["helm"]


if __name__ == "__main__":
    programs()
    for each in HELMS:
        helm(each)
