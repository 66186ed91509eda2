"""The files that containerd, CNI, kubelet, kube-proxy and CoreDNS read. Each odd line says what broke without it.

Caller: tests/node/node.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

ADDRESS: Final = "10.77.0.1"  # in the node's own network: nobody else's
PODS: Final = "10.244.0.0/22"
PAUSE: Final = "docker.io/local/pause:1"
CONTAINERD: Final = """version = 2
root = "{state}/containerd"
state = "/run/containerd"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true  # without CAP_SYS_RESOURCE a sandbox's -998 can't be set, and runc dies
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state}/cni"
"""
COREFILE: Final = """.:53 {{
  bind {address}
  errors
  kubernetes cluster.local {{
    kubeconfig {kubeconfig}
    ttl 1
  }}
}}
"""


def write(state: Path, kubeconfig: Path, control_group: str) -> None:
    """Every file, into `state`."""
    (state / "cni").mkdir()
    (state / "cni" / "pods.conflist").write_text(json.dumps(_network(state)))
    (state / "containerd.toml").write_text(CONTAINERD.format(state=state, socket=socket(state), pause=PAUSE))
    (state / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet(state, control_group)))
    (state / "kube-proxy.yaml").write_text(yaml.safe_dump(_proxy(kubeconfig)))
    (state / "Corefile").write_text(COREFILE.format(address=ADDRESS, kubeconfig=kubeconfig))
    (state / "resolv.conf").write_text(f"nameserver {ADDRESS}\n")


def socket(state: Path) -> Path:
    """Where containerd listens."""
    return state / "containerd.sock"


def _network(state: Path) -> dict[str, Any]:
    """A route a pod: on a shared bridge an answer can pass by the Service's translation (as br_netfilter may be missing)."""
    addresses = {"type": "host-local", "dataDir": str(state / "addresses"), "ranges": [[{"subnet": PODS}]]}
    pairs = {"type": "ptp", "ipMasq": False, "ipam": {**addresses, "routes": [{"dst": "0.0.0.0/0"}]}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [pairs]}


def _kubelet(state: Path, control_group: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{socket(state)}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [ADDRESS],
        "resolvConf": str(state / "resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": control_group,  # two nodes on one machine would end each other's pods as orphans
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        # a developer's disk is fuller than a node's: no eviction, and no image is collected, as none can be pulled again
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,  # the tests read Events
    }


def _proxy(kubeconfig: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "mode": "nftables",
        "clusterCIDR": PODS,
        "bindAddress": ADDRESS,
        "conntrack": {"maxPerCore": 0, "min": 0},  # the machine's own limits stay
    }
