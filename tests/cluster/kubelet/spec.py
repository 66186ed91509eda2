"""What a container's spec means on this node: its environment, its command, its volumes' files. Nothing is done here.

Two things differ from a container, for a process has the machine's file system and no DNS: a mount path in a value is replaced by where the
volume really is, and `k8s:namespace/service:port` by the endpoints file the node writes (the API server refuses slices with loopback addresses).

Caller: pod.py.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Object = dict[str, Any]
Lookup = Callable[[str, str, str], Object | None]
"""(`ConfigMap` or `Secret`, namespace, name) → the object, if it is there."""
_REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")
_SERVICE: Final = re.compile(r"k8s:([a-z0-9-]+)/([a-z0-9-]+):([a-z0-9-]+)")
_KINDS: Final = {"configMap": "ConfigMap", "secret": "Secret"}


class NotYetError(Exception):
    """A ConfigMap, a Secret or a key that is not there: the kubelet waits for it."""


class NotPlayedError(Exception):
    """The manifest asks for something this node does not do."""


@dataclass(frozen=True, slots=True)
class Around:
    """Of the pod: itself, its address, and the objects it may refer to."""

    pod: Object
    ip: str
    lookup: Lookup

    def data(self, kind: str, ref: Object) -> dict[str, bytes] | None:
        """The keys of what `ref` names; None where it is missing and may be."""
        namespace, name = self.pod["metadata"]["namespace"], ref.get("name") or ref["secretName"]
        found = self.lookup(kind, namespace, name)
        if found is None:
            self.may_lack(f"{kind} {name}", ref)
            return None
        plain = {key: value.encode() for key, value in found.get("data", {}).items()}
        if kind == "Secret":
            return {key: base64.b64decode(value) for key, value in plain.items()}
        return plain | {key: base64.b64decode(value) for key, value in found.get("binaryData", {}).items()}

    def field(self, path: str) -> str:
        """A fieldRef of the downward API."""
        meta, spec = self.pod["metadata"], self.pod["spec"]
        own: dict[str, str] = {
            "metadata.name": meta["name"],
            "metadata.namespace": meta["namespace"],
            "metadata.uid": meta["uid"],
            "spec.nodeName": spec.get("nodeName", ""),
            "spec.serviceAccountName": spec.get("serviceAccountName", ""),
            "status.podIP": self.ip,
            "status.podIPs": self.ip,
            "status.hostIP": self.ip,
        }
        if member := re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path):
            return str(meta.get(member[1], {}).get(member[2], ""))
        if path not in own:
            raise NotPlayedError(f"fieldRef {path}")
        return own[path]

    def may_lack(self, what: str, ref: Object) -> None:
        """Raises NotYetError unless `ref` is optional."""
        if not ref.get("optional"):
            raise NotYetError(f"{what} not found")


def environment(container: Object, around: Around) -> dict[str, str]:
    """envFrom, then env, in their order; raises NotYetError."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        kind = "Secret" if "secretRef" in source else "ConfigMap"
        data = around.data(kind, source["secretRef" if kind == "Secret" else "configMapRef"]) or {}
        found |= {source.get("prefix", "") + key: value.decode() for key, value in data.items()}
    for entry in container.get("env", ()):
        if "valueFrom" not in entry:
            found[entry["name"]] = expanded(entry.get("value", ""), found)
        elif (value := _value_from(entry["valueFrom"], around)) is not None:
            found[entry["name"]] = value
    return found


def _value_from(source: Object, around: Around) -> str | None:
    if "fieldRef" in source:
        return around.field(source["fieldRef"]["fieldPath"])
    for member, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        if member in source:
            ref = source[member]
            data = around.data(kind, ref)
            if data is None or ref["key"] not in data:
                around.may_lack(f"key {ref['key']} of {kind} {ref['name']}", ref)
                return None
            return data[ref["key"]].decode()
    raise NotPlayedError(f"env valueFrom {', '.join(source)}")


def expanded(value: str, known: Mapping[str, str]) -> str:
    """`$(NAME)` of what is defined before, `$$` for a dollar; what is not defined stays as it is."""
    return _REFERENCE.sub(lambda m: "$" if m[0] == "$$" else known.get(m[1], m[0]), value)


def relocated(value: str, mounts: Mapping[str, Path]) -> str:
    """Mount paths in `value` replaced by the folders they stand for, the longest first."""
    for path in sorted(mounts, key=len, reverse=True):
        value = re.sub(rf"(?<![\w./-]){re.escape(path)}(?=/|,|$)", str(mounts[path]), value)
    return value


def with_files(value: str, file_of: Callable[[str, str, str], Path]) -> str:
    """Each `k8s:` source in it replaced by a `file:` one."""
    return _SERVICE.sub(lambda m: f"file:{file_of(m[1], m[2], m[3])}", value)


def volume_files(volume: Object, around: Around, token: str, authority: bytes) -> dict[str, bytes] | None:
    """Name → content; None for a volume that is the pod's own (emptyDir); raises NotYetError."""
    if "emptyDir" in volume:
        return None
    if "projected" not in volume:
        return _source_files(volume, around, token, authority)
    found: dict[str, bytes] = {}
    for source in volume["projected"]["sources"]:
        found |= _source_files(source, around, token, authority)
    return found


def _source_files(source: Object, around: Around, token: str, authority: bytes) -> dict[str, bytes]:
    for member, kind in _KINDS.items():
        if member in source:
            ref = source[member]
            data = around.data(kind, ref)
            if data is None and ref.get("name") == "kube-root-ca.crt":
                return {"ca.crt": authority}
            return _chosen(data or {}, ref, around)
    if "serviceAccountToken" in source:
        return {source["serviceAccountToken"]["path"]: token.encode()}
    if "downwardAPI" in source:
        items = source["downwardAPI"].get("items", ())
        return {item["path"]: around.field(item["fieldRef"]["fieldPath"]).encode() for item in items}
    raise NotPlayedError(f"volume {', '.join(source)}")


def _chosen(data: dict[str, bytes], ref: Object, around: Around) -> dict[str, bytes]:
    """All keys, or those of `items` at their paths."""
    if not ref.get("items"):
        return data
    found = {}
    for item in ref["items"]:
        if item["key"] in data:
            found[item["path"]] = data[item["key"]]
        else:
            around.may_lack(f"key {item['key']}", ref)
    return found
