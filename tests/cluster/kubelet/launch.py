"""From a container's spec to a process: command, environment, and what stands in for a container's own address, host name and mounted account.

Caller: pod.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import yaml

from services.runtime.kube_api import ACCOUNT
from tests.cluster.kubelet.container import Launch
from tests.cluster.kubelet.spec import Around, NotPlayedError, environment, relocated, with_files

Object = dict[str, Any]
PROGRAMS: Final[Mapping[str, Sequence[str]]] = {
    "scalable-api": (sys.executable, "-m", "services.cli"),
    **dict.fromkeys(("python", "python3"), (sys.executable,)),
}
"""What a command's first word means outside an image."""


class Host(Protocol):
    """What a pod needs of its node."""

    folder: Path
    http: httpx.AsyncClient
    images: Mapping[str, Sequence[str]]
    api_url: str
    authority: bytes

    def lookup(self, kind: str, namespace: str, name: str) -> Object | None: ...
    def endpoints_file(self, namespace: str, service: str, port: str) -> Path: ...
    def changed(self) -> None: ...


def launch_of(spec: Object, around: Around, host: Host, folder: Path) -> Launch:
    """`folder` is the pod's, its volumes in `volumes/`; raises NotYetError, NotPlayedError."""
    mounts = spec.get("volumeMounts", ())
    folders = {m["mountPath"]: folder / "volumes" / m["name"] / m.get("subPath", "") for m in mounts}
    found = _stand_ins(around, host, folder, folders.get(str(ACCOUNT))) | environment(spec, around)
    values = {name: relocated(with_files(value, host.endpoints_file), folders) for name, value in found.items()}
    command = [relocated(word, folders) for word in (*spec.get("command", ()), *spec.get("args", ()))]
    if not spec.get("command"):
        command = [*_entry(spec["image"], host.images), *command]
    return Launch([*PROGRAMS.get(command[0], (command[0],)), *command[1:]], values)


def _entry(image: str, images: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """`ghcr.io/x/scalable-api-gateway:1.0@sha256:…` → what its image would start."""
    name = re.sub(r"[:@].*", "", image.rsplit("/", 1)[-1]).removeprefix("scalable-api-")
    if name not in images:
        raise NotPlayedError(f"image {image}: this node plays {', '.join(images)}")
    return images[name]


def _stand_ins(around: Around, host: Host, folder: Path, account: Path | None) -> dict[str, str]:
    """What a container has without asking. Who reads the account at its fixed path finds it by KUBECONFIG here."""
    meta, url = around.pod["metadata"], httpx.URL(host.api_url)
    own = {"LC_ALL": "C.UTF-8", "HOST": around.ip, "INSTANCE_ID": meta["name"][:64]}
    own |= {"KUBERNETES_SERVICE_HOST": url.host, "KUBERNETES_SERVICE_PORT": str(url.port)}
    if account is not None:
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(_kubeconfig(host.api_url, account, meta["namespace"])))
        own["KUBECONFIG"] = str(path)
    return own


def _kubeconfig(url: str, account: Path, namespace: str) -> Object:
    cluster = {"server": url, "certificate-authority": str(account / "ca.crt")}
    context = {"cluster": "here", "user": "account", "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "account", "user": {"tokenFile": str(account / "token")}}],
        "contexts": [{"name": "here", "context": context}],
        "current-context": "here",
    }
