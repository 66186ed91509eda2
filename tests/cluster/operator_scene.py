"""A namespace with an operator at work: its account and rights, Deployments, pods that become ready, control ports.

The operator is the real process under its own ServiceAccount's token. Pods are the ReplicaSets' own; the stand-in of a
kubelet gives each an address of 127.0.0.0/8 and has it Running and Ready; what answers there is a `Voice`.

Callers: tests/cluster/test_operator_*.py.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml

from scalable_operator.resources import rbac
from services.cli.embedded.child import end, spawn, tail
from tests.cluster.binaries import minors
from tests.cluster.client import MERGE, Client, Object, scalable_apis
from tests.cluster.control_plane import ControlPlane, free_ports
from tests.cluster.control_server import TOKEN, ControlServers, Voice

OLDEST = pytest.mark.parametrize("minor", minors()[:1], indirect=True, scope="session")
"""One minor is enough for what does not depend on it: the stage stays short."""
ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = ("gateway", "balancer", "api")
PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}
_addresses = (f"127.0.{a}.{b}" for a in range(7, 200) for b in range(1, 250))
_numbers = itertools.count(1)


def quick(name: str, **more: Any) -> Object:
    """A component that follows its load at once: short windows, no stabilization."""
    behavior = {
        "stableWindow": "6s",
        "panic": {"window": "2s"},
        "scaleDown": {"stabilizationWindow": "0s", "policies": []},
    }
    metrics = [{"name": "in-flight", "type": "InFlight", "target": 20}]
    drain = {"timeout": "20s", "settle": "0s"}
    return {
        "name": name,
        "minReplicas": 1,
        "maxReplicas": 10,
        "behavior": behavior,
        "metrics": metrics,
        "drain": drain,
    } | more


class Kubelet:
    """Makes every pod of the namespace run: an address, Running, Ready."""

    def __init__(self, client: Client, namespace: str, control: ControlServers) -> None:
        self._client, self._namespace, self._control = client, namespace, control
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._stop = threading.Event()
        self.ready = True
        self.addresses: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for pod in self._client.do("GET", self._path)["items"]:
                if pod["metadata"]["name"] not in self.addresses and self.ready:
                    self._start(pod)

    def _start(self, pod: Object) -> None:
        name, component = pod["metadata"]["name"], pod["metadata"]["labels"]["scalableapi.io/component"]
        address = next(_addresses)
        self._control.open(address, Voice(component=component, instance=name))
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        self._client.ask("PATCH", f"{self._path}/{name}/status", {"status": status}, kind=MERGE)
        self.addresses[name] = address


class Scene:
    """Made by the fixture `scene`; `with Scene(...)`."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace
        self.client = plane.client()
        self.name = f"system:serviceaccount:{namespace}:{rbac.ACCOUNT}"
        self._kubelet_client = plane.client()
        self.control = ControlServers(free_ports(1)[0])
        self.processes: list[subprocess.Popen[bytes]] = []
        self.logs: dict[int, Path] = {}
        self.ports: dict[int, int] = {}
        self.instances: dict[int, str] = {}
        self.kubeconfigs: dict[int, Path] = {}
        self._cluster_wide: list[Object] = []

    def __enter__(self) -> Self:
        self.grant(rbac.namespaced(self.namespace, self.namespace))
        self.grant(rbac.token_reader("shop-control", self.namespace, self.namespace))
        self.kubelet = Kubelet(self._kubelet_client, self.namespace, self.control)
        return self

    def __exit__(self, *_exc: object) -> None:
        for process in self.processes:
            end(process, signal.SIGKILL, 5)
        self.kubelet.close()
        self.control.close()
        for left in (scalable_apis(self.namespace), self.deployments()):  # a later operator or node would take them up
            self.client.ask("DELETE", left)
        self.revoke(self._cluster_wide)
        self.client.__exit__()
        self._kubelet_client.__exit__()

    # ------------------------------------------------------------------------------------------------------ objects

    def grant(self, objects: list[Object]) -> None:
        for one in objects:
            path = PATHS[one["kind"]].format(one["metadata"].get("namespace", ""))
            answer = self.client.ask("POST", path, one)
            assert answer.is_success or answer.status_code == 409, answer.text
            self._cluster_wide += [one] if "namespace" not in one["metadata"] else []

    def allowed(self, verb: str, group: str, resource: str, name: str) -> bool:
        """Whether the API server knows by now that the operator may."""
        asked = {"verb": verb, "group": group, "resource": resource, "name": name}
        review = {"spec": {"user": self.name, "resourceAttributes": asked}}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        said: bool = self.client.do("POST", path, review)["status"]["allowed"]
        return said

    def revoke(self, objects: list[Object]) -> None:
        for one in objects:
            path = PATHS[one["kind"]].format(one["metadata"].get("namespace", ""))
            self.client.do("DELETE", f"{path}/{one['metadata']['name']}")

    def secret(self, token: str = TOKEN) -> None:
        body = {"metadata": {"name": "shop-control"}, "data": {"token": base64.b64encode(token.encode()).decode()}}
        self.client.do("POST", f"/api/v1/namespaces/{self.namespace}/secrets", body)

    def deployment(self, component: str, replicas: int = 1, *, labelled: bool = True, of: str = "shop") -> None:
        own = {"scalableapi.io/component": component}
        labels = {"app.kubernetes.io/instance": of, **own}
        ports = [{"name": "control", "containerPort": self.control.port}]
        body = {
            "metadata": {"name": f"{of}-{component}", "labels": own if labelled else {}},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": component, "image": "shop:1", "ports": ports}]},
                },
            },
        }
        self.client.do("POST", self.deployments(), body)

    def platform(self, **replicas: int) -> None:
        """The Secret, and a Deployment per component."""
        self.secret()
        for component in COMPONENTS:
            self.deployment(component, replicas.get(component, 1))

    def apply(self, name: str = "shop", **spec: Any) -> Object:
        spec = {"components": [quick(component) for component in COMPONENTS]} | spec
        body = {"apiVersion": "scalableapi.io/v1", "kind": "ScalableApi", "metadata": {"name": name}, "spec": spec}
        return self.client.do("POST", scalable_apis(self.namespace), body)

    def change(self, patch: Object, name: str = "shop") -> Object:
        return self.client.do("PATCH", scalable_apis(self.namespace, name), patch, kind=MERGE)

    def deployments(self, component: str = "", sub: str = "") -> str:
        name = f"shop-{component}" if component else ""
        return "/".join(filter(None, (f"/apis/apps/v1/namespaces/{self.namespace}/deployments", name, sub)))

    def replicas(self, component: str) -> int:
        found: int = self.client.do("GET", self.deployments(component))["spec"]["replicas"]
        return found

    def status(self, name: str = "shop") -> Object:
        found: Object = self.client.do("GET", scalable_apis(self.namespace, name)).get("status") or {}
        return found

    def condition(self, kind: str, name: str = "shop") -> tuple[str, str, str]:
        for found in self.status(name).get("conditions") or ():
            if found["type"] == kind:
                return found["status"], found["reason"], found.get("message", "")
        return "", "", ""

    def config_map(self) -> Object:
        return self.client.do("GET", f"/api/v1/namespaces/{self.namespace}/configmaps/shop-tiers")

    def pods(self, component: str) -> list[Object]:
        path, selector = f"/api/v1/namespaces/{self.namespace}/pods", f"scalableapi.io/component={component}"
        found: list[Object] = self.client.do("GET", path, labelSelector=selector)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def voices(self, component: str) -> dict[str, Voice]:
        """By pod, those that are there."""
        names = [pod["metadata"]["name"] for pod in self.pods(component)]
        return {
            name: self.control.voices[self.kubelet.addresses[name]] for name in names if name in self.kubelet.addresses
        }

    def load(self, component: str, in_flight: int) -> None:
        """So much in flight, on the first of its pods."""
        for number, voice in enumerate(self.voices(component).values()):
            voice.in_flight = 0 if number else in_flight

    def events(self) -> list[tuple[str, str]]:
        found = self.client.do("GET", f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events")["items"]
        return [(e["reason"], e.get("note", "")) for e in found if e["regarding"]["kind"] == "ScalableApi"]

    # ----------------------------------------------------------------------------------------------------- operator

    def operator(self, url: str = "", token: str = "", **more: str) -> subprocess.Popen[bytes]:
        """Starts one; it is ready to be killed with the scene. `url`: of a proxy before the API server."""
        number, port = next(_numbers), free_ports(1)[0]
        log = self.plane.folder / f"operator-{number}.log"
        environment = {
            "KUBECONFIG": str(self.plane.folder / f"kubeconfig-{number}"),
            "POD_NAMESPACE": self.namespace,
            "WATCH_NAMESPACES": self.namespace,
            "INSTANCE_ID": f"operator-{number}",
            "CONTROL_PORT": str(port),
            "HOST": "127.0.0.1",
            "LOG_FORMAT": "json",
        } | more
        self.sign_in(Path(environment["KUBECONFIG"]), token or self.token(), url)
        process = spawn([sys.executable, "-m", "scalable_operator"], log, death=signal.SIGKILL, env=environment)
        self.processes.append(process)
        self.logs[process.pid], self.ports[process.pid] = log, port
        self.kubeconfigs[process.pid] = Path(environment["KUBECONFIG"])
        self.instances[process.pid] = f"({environment['INSTANCE_ID']})"
        return process

    def instance(self, process: subprocess.Popen[bytes]) -> str:
        """As its requests' user agents name it."""
        return self.instances[process.pid]

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        end(process, signal.SIGKILL, 5)

    def free_lease(self) -> None:
        """As if the dead one's nine seconds were over."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/scalable-api-operator"
        self.client.do("PATCH", path, {"spec": {"holderIdentity": ""}}, kind=MERGE)

    def log(self, process: subprocess.Popen[bytes]) -> str:
        return tail(self.logs[process.pid])

    def asked(self, process: subprocess.Popen[bytes], path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.ports[process.pid]}{path}", trust_env=False)

    def leads(self, process: subprocess.Popen[bytes]) -> bool:
        """By its own metric; a line of its own, for the metric's help says the same words."""
        lines = self.asked(process, "/metrics").text.splitlines()
        return any(line.startswith("operator_leader 1") for line in lines)

    def token(self, secret: str = "") -> str:
        """Of the operator's account; it ends with the Secret that it is bound to."""
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{rbac.ACCOUNT}/token"
        bound = {"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": secret}} if secret else {}
        found: str = self.client.do("POST", path, {"spec": {"expirationSeconds": 3600} | bound})["status"]["token"]
        return found

    def sign_in(self, kubeconfig: Path, token: str, url: str = "") -> None:
        """Whole or not at all, as kubelet replaces a token."""
        cluster = {"server": url or self.plane.url, "certificate-authority": str(self.plane.authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "operator", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "operator"}}],
            "current-context": "test",
        }
        unfinished = kubeconfig.with_suffix(".new")
        unfinished.write_text(yaml.safe_dump(config))
        unfinished.replace(kubeconfig)

    # ------------------------------------------------------------------------------------------------------- audits

    def audited(self, *, writes: bool = False) -> list[Object]:
        """The operator's requests in this namespace; only its writes, without the Lease's."""
        lines = self.plane.audit_log.read_text().splitlines()
        found = [json.loads(line) for line in lines if self.name in line]
        reading = {"get", "list", "watch"}
        return [
            e
            for e in found
            if not writes
            or (e["verb"] not in reading and e["objectRef"]["resource"] not in {"leases", "selfsubjectreviews"})
        ]

    def until(self, what: Callable[[], Any], within_s: float = 30, why: str = "", every_s: float = 0.03) -> float:
        """Seconds until `what` is true; its exceptions count as not yet. `every_s`: a look may cost the API server much."""
        began, last = time.monotonic(), None
        while time.monotonic() - began < within_s:
            try:
                last = what()
            except (AssertionError, KeyError, IndexError, httpx.TransportError) as error:
                last = error
            if last and not isinstance(last, Exception):
                return time.monotonic() - began
            time.sleep(every_s)
        logs = "\n".join(f"--- {path.name}\n{tail(path)}" for path in self.logs.values())
        logs += "\n".join(self._requests(process) for process in self.processes)
        raise AssertionError(f"not within {within_s} s: {why or what}; last: {last}\n{self.status_text()}\n{logs}")

    def _requests(self, process: subprocess.Popen[bytes]) -> str:
        with contextlib.suppress(httpx.TransportError):
            lines = self.asked(process, "/metrics").text.splitlines()
            return "\n".join(line for line in lines if line.startswith("operator_api_requests_total"))
        return "--- no answer"

    def status_text(self) -> str:
        with contextlib.suppress(AssertionError):
            return json.dumps(self.status())[:3000]
        return ""

    def ready(self, within_s: float = 40) -> float:
        return self.until(lambda: self.condition("Ready")[0] == "True", within_s, "Ready")
