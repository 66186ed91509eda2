"""Per Service and port a file of its endpoints, in the format that services/runtime/discovery.py reads: the API server refuses slices with
loopback addresses, so the node says what they would say, by the rules of services/runtime/endpoint_slices.py.

Caller: tests/cluster/process_node.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.cli.instance import write_private
from services.runtime.endpoint_slices import slice_of
from services.runtime.endpoints import EndpointInfo, merged
from tests.cluster.kubelet.pod import Pod

Object = dict[str, Any]


@dataclass(slots=True)
class EndpointFiles:
    """Those that somebody asked for; `write` brings them up to date."""

    folder: Path
    service: Callable[[str, str], Object | None]
    pods: Callable[[], Iterable[Pod]]
    _written: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def path(self, namespace: str, service: str, port: str) -> Path:
        self._written.setdefault((namespace, service, port), "")
        self.write()
        return self._path(namespace, service, port)

    def write(self) -> None:
        for key, written in self._written.items():
            text = json.dumps([entry(one) for one in self.of(*key)])
            if text != written:
                self._written[key] = text
                write_private(self._path(*key), text)

    def of(self, namespace: str, name: str, port: str) -> tuple[EndpointInfo, ...]:
        """Whom the Service stands for now."""
        service = self.service(namespace, name)
        if service is None:
            return ()
        pods = [pod for pod in self.pods() if pod.namespace == namespace and pod.phase == "Running"]
        slices = [slice_for(service, pod) for pod in pods if selects(service, pod.object)]
        return merged(slice_of(one, int(port) if port.isdecimal() else port).endpoints for one in slices)

    def _path(self, namespace: str, service: str, port: str) -> Path:
        return self.folder / f"{namespace}.{service}.{port}.json"


def selects(service: Object, pod: Object) -> bool:
    wanted = service["spec"].get("selector") or {}
    labels = pod["metadata"].get("labels", {})
    return bool(wanted) and all(labels.get(name) == value for name, value in wanted.items())


def slice_for(service: Object, pod: Pod) -> Object:
    """The EndpointSlice a real pod with this state would be in."""
    named = {p.get("name"): p["containerPort"] for c in pod.object["spec"]["containers"] for p in c.get("ports", ())}
    ports = []
    for one in service["spec"]["ports"]:
        target = one.get("targetPort", one["port"])
        ports.append({"name": one.get("name", ""), "port": named.get(target) if isinstance(target, str) else target})
    published = bool(service["spec"].get("publishNotReadyAddresses"))
    ready = published or (pod.ready and not pod.terminating)
    conditions = {"ready": ready, "serving": pod.ready, "terminating": pod.terminating}
    endpoint = {"addresses": [pod.ip], "conditions": conditions, "targetRef": {"kind": "Pod", "name": pod.name}}
    return {"metadata": {"name": pod.name}, "addressType": "IPv4", "ports": ports, "endpoints": [endpoint]}


def entry(one: EndpointInfo) -> Object:
    """As services/runtime/discovery.py reads it."""
    own = {"id": one.id, "host": one.host, "port": one.port, "weight": one.weight, "draining": one.draining}
    return own | ({"controlUrl": one.control_url} if one.control_url else {})
