"""The platform as a chart installs it, under the name `shop`: Deployments, Services, Secrets, the tiers ConfigMap; stores are outside.

Names, labels, ports and probes are those of the charts, timings a test's. Deployments have two replicas each unless a test asks for others.
Callers: tests/cluster, with a process node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from services.cli.up.environment import Secrets, secrets_of
from services.schema.tiers import BUILT_IN, TiersSpec, document, render
from tests.cluster.client import APPLY, Client
from tests.harness.stores import Database

Object = dict[str, Any]
NAME: Final = "shop"
PORTS: Final = {"gateway": 8080, "balancer": 3000, "api": 3001}
CONTROL: Final = 9180
TIERS: Final = "/etc/scalable-api/tiers"
DEPLOYMENTS: Final = "/apis/apps/v1/namespaces/{}/deployments"


@dataclass(slots=True)
class Shop:
    """What of it is in `namespace`; `env` holds further settings per component, `folder` is where its secrets are made."""

    client: Client
    namespace: str
    folder: Path
    database: Database
    redis_url: str
    replicas: Mapping[str, int] = field(default_factory=dict)
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    secrets: Secrets = field(init=False)

    def __post_init__(self) -> None:
        self.secrets = secrets_of(self.folder / "secrets.json")

    def install(self) -> None:
        for name, data in (
            ("control", {"token": self.secrets.control_token}),
            ("keys", self._keys()),
            ("stores", self._stores()),
        ):
            self.apply("api/v1", "secrets", {"metadata": {"name": f"{NAME}-{name}"}, "stringData": data})
        self.use_tiers(1, BUILT_IN.spec)
        for component in PORTS:
            for service in self._services(component):
                self.apply("api/v1", "services", service)
            self.apply("apis/apps/v1", "deployments", self.deployment(component))

    def apply(self, group: str, resource: str, manifest: Object) -> Object:
        path = f"/{group}/namespaces/{self.namespace}/{resource}/{manifest['metadata']['name']}"
        kind = {"secrets": "Secret", "configmaps": "ConfigMap", "services": "Service", "deployments": "Deployment"}
        whole = {"apiVersion": group.split("/", 1)[1], "kind": kind[resource], **manifest}
        return self.client.do("PATCH", path, whole, kind=APPLY, fieldManager="chart", force="true")

    def use_tiers(self, revision: int, spec: TiersSpec) -> None:
        """Writes the ConfigMap that gateways and balancers mount, as the operator would."""
        text = render(document(revision, spec)).decode()
        self.apply("api/v1", "configmaps", {"metadata": {"name": f"{NAME}-tiers"}, "data": {"tiers.yaml": text}})

    def pods(self, component: str = "") -> list[Object]:
        """As the API server has them, by name."""
        selector = ",".join(f"{k}={v}" for k, v in labels(component).items())
        found = self.client.do("GET", f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=selector)
        return sorted(found["items"], key=lambda pod: str(pod["metadata"]["name"]))

    def ready(self, component: str = "") -> list[Object]:
        """Those that are Ready and stay."""
        return [pod for pod in self.pods(component) if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]

    def deployment(self, component: str) -> Object:
        probe = {"httpGet": {"path": "/readyz", "port": "control"}, "periodSeconds": 1, "timeoutSeconds": 2}
        alive = {"httpGet": {"path": "/livez", "port": "control"}, "timeoutSeconds": 2}
        container = {
            "name": component,
            "image": f"ghcr.io/scalable-api/scalable-api-{component}:1.0.0",
            "ports": [
                {"name": "http", "containerPort": PORTS[component]},
                {"name": "control", "containerPort": CONTROL},
            ],
            "env": [*self._env(component), *({"name": n, "value": v} for n, v in self.env.get(component, {}).items())],
            "startupProbe": {**alive, "periodSeconds": 1, "failureThreshold": 60},
            "livenessProbe": {**alive, "periodSeconds": 10},
            "readinessProbe": {**probe, "failureThreshold": 2},
            "volumeMounts": [{"name": "tiers", "mountPath": TIERS}],
        }
        spec = {
            "terminationGracePeriodSeconds": 30,
            "enableServiceLinks": False,
            "containers": [container],
            "volumes": [{"name": "tiers", "configMap": {"name": f"{NAME}-tiers", "optional": True}}],
        }
        return {
            "metadata": {"name": f"{NAME}-{component}", "labels": labels(component)},
            "spec": {
                "replicas": self.replicas.get(component, 2),
                "selector": {"matchLabels": labels(component)},
                "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
                "template": {"metadata": {"labels": labels(component)}, "spec": spec},
            },
        }

    def _services(self, component: str) -> list[Object]:
        http = {"name": "http", "port": PORTS[component], "targetPort": "http"}
        control = {"name": "control", "port": CONTROL, "targetPort": "control"}
        headless = {"clusterIP": "None", "publishNotReadyAddresses": True, "ports": [control]}
        plain: list[tuple[str, Object]] = [("", {"ports": [http]}), ("-control", headless)]
        return [
            {"metadata": {"name": f"{NAME}-{component}{suffix}"}, "spec": {"selector": labels(component), **more}}
            for suffix, more in plain
        ]

    def _env(self, component: str) -> list[Object]:
        common: list[Object] = [
            {"name": "CONTROL_TOKEN", "valueFrom": secret("control", "token")},
            {"name": "LOG_FORMAT", "value": "json"},
            {"name": "DRAIN_DELAY_SECONDS", "value": "1"},
            {"name": "DRAIN_SECONDS", "value": "10"},
        ]
        return common + [{"name": name, **given} for name, given in getattr(self, f"_{component}")().items()]

    def _gateway(self) -> dict[str, Object]:
        return self._data("gateway-url") | {
            "BALANCERS": {"value": self._source("balancer")},
            "GATEWAY_PEERS": {"value": self._source("gateway")},
            "TIERS_FILE": {"value": f"{TIERS}/tiers.yaml"},
        }

    def _balancer(self) -> dict[str, Object]:
        return {"API_SERVERS": {"value": self._source("api")}, "TIERS_FILE": {"value": f"{TIERS}/tiers.yaml"}}

    def _api(self) -> dict[str, Object]:
        fleet = ",".join(self._source(f"{component}-control", "control") for component in PORTS)
        return self._data("app-url") | {"FLEET": {"value": fleet}}

    def _data(self, role: str) -> dict[str, Object]:
        return {
            "DATABASE_URL": {"valueFrom": secret("stores", role)},
            "REDIS_URL": {"valueFrom": secret("stores", "redis-url")},
            "IDENTITY_SECRETS": {"valueFrom": secret("keys", "identity-secrets")},
            "API_KEY_PEPPERS": {"valueFrom": secret("keys", "api-key-peppers")},
        }

    def _source(self, service: str, port: str = "http") -> str:
        return f"k8s:{self.namespace}/{NAME}-{service}:{port}"

    def _keys(self) -> dict[str, str]:
        return {"identity-secrets": self.secrets.identity_secrets, "api-key-peppers": self.secrets.api_key_peppers}

    def _stores(self) -> dict[str, str]:
        return {"gateway-url": self.database.gateway, "app-url": self.database.app, "redis-url": self.redis_url}


def labels(component: str = "") -> dict[str, str]:
    own = {"app.kubernetes.io/name": "scalable-api", "app.kubernetes.io/instance": NAME}
    return own | ({"app.kubernetes.io/component": component} if component else {})


def secret(name: str, key: str) -> Object:
    return {"secretKeyRef": {"name": f"{NAME}-{name}", "key": key}}


def is_ready(pod: Object) -> bool:
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", ())}
    return conditions.get("Ready") == "True"
