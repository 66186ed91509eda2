"""What is kept of each watched object: the few members a decision reads, at most 1 KiB each, and nothing of the rest.

Pure: an object's JSON in, a frozen record out. Callers: handlers (which feed `store`), backend.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from sys import intern
from typing import Any, Final, Literal

from pydantic import ValidationError

from services.schema.faults import dotted, faults_of
from services.schema.scalable_api import ScalableApi, ScalableApiSpec, tiers_spec
from services.schema.sharing import shared
from services.schema.tiers import TiersSpec

COMPONENT: Final = "scalableapi.io/component"
TIERS: Final = "scalableapi.io/tiers"
COST: Final = "controller.kubernetes.io/pod-deletion-cost"
GOES_FIRST: Final = "-1000"
PROTECTED: Final = "scalableapi.io/do-not-drain"
ROTATION: Final = "scalableapi.io/rotation"
BUDGET: Final = "scalableapi.io/budget"
OURS: Final = "scalableapi.io/"
CONTROL_PORT: Final = "control"

Json = Mapping[str, Any]
Name = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class ApiRecord:
    """A ScalableApi. `spec` None: not accepted, `errors` tell why. `status` is the observed one's digest."""

    uid: str
    namespace: str
    name: str
    generation: int
    created_at: str
    deleting: bool
    annotations: tuple[tuple[str, str], ...]
    spec: ScalableApiSpec | None
    errors: tuple[str, ...]
    status: str
    version: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line of a label selector."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()

    def admits(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator in {"Exists", "DoesNotExist"}:
            return (value is not None) == (self.operator == "Exists")
        return (value in self.values) == (self.operator == "In")


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """`writers`: the field managers of spec.replicas. `updated` False while its own rollout runs."""

    namespace: str
    name: str
    component: str
    version: str
    replicas: int
    updated: bool
    selector: tuple[Requirement, ...]
    writers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PodRecord:
    """`control`: where its control port is, '' while it has no address."""

    namespace: str
    name: str
    version: str
    uid: str
    labels: tuple[tuple[str, str], ...]
    node: str
    phase: Literal["Pending", "Running", "Failed"]
    ready: bool
    deleting: bool
    started_at_ms: int
    control: str
    restarts: int
    reason: str
    protected: bool
    cost: str


@dataclass(frozen=True, slots=True)
class ConfigMapRecord:
    """A tiers ConfigMap: the digest of what is ours in it."""

    namespace: str
    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class HpaRecord:
    """A HorizontalPodAutoscaler: whom it scales, and who made it ('' = a person)."""

    namespace: str
    name: str
    version: str
    target: str
    owner: str


def api_record(body: Json, known: ApiRecord | None = None) -> ApiRecord:
    """`known` of the same generation has the same spec: our own status writes come by here, and parsing takes time."""
    meta = body["metadata"]
    if known is not None and known.generation == meta.get("generation") and known.uid == meta["uid"]:
        spec, errors = known.spec, known.errors
    else:
        spec, errors = _spec(body)
    return ApiRecord(
        uid=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        generation=meta.get("generation", 0),
        created_at=meta.get("creationTimestamp", ""),
        deleting="deletionTimestamp" in meta,
        annotations=tuple(sorted((k, v) for k, v in meta.get("annotations", {}).items() if k.startswith(OURS))),
        spec=spec,
        errors=errors,
        status=digest(body.get("status") or {}),
        version=meta.get("resourceVersion", ""),
    )


def _spec(body: Json) -> tuple[ScalableApiSpec | None, tuple[str, ...]]:
    """The API server has judged it by schema and CEL; what those cannot see is judged here."""
    meta = body["metadata"]
    whole = {
        "apiVersion": body.get("apiVersion", "scalableapi.io/v1"),
        "kind": body.get("kind", "ScalableApi"),
        "metadata": {"name": meta["name"]},
        "spec": _plain(body.get("spec") or {}),
    }
    try:
        spec = ScalableApi.model_validate(whole, by_alias=True, by_name=False).spec
    except ValidationError as error:
        return None, tuple(f"{dotted(fault.path)}: {fault.message}" for fault in faults_of(error, ScalableApi))
    try:
        tiers_spec(spec)
    except ValidationError as error:
        return None, tuple(f"spec.tiers: {fault.message}" for fault in faults_of(error, TiersSpec))
    return shared(spec), ()


def deployment_record(body: Json) -> DeploymentRecord:
    meta, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    replicas = spec.get("replicas", 1)
    return DeploymentRecord(
        namespace=meta["namespace"],
        name=meta["name"],
        component=meta.get("labels", {}).get(COMPONENT, ""),
        version=meta.get("resourceVersion", ""),
        replicas=replicas,
        updated=status.get("updatedReplicas", 0) >= status.get("replicas", 0),
        selector=_selector(spec.get("selector") or {}),
        writers=tuple(
            entry.get("manager", "")
            for entry in meta.get("managedFields") or ()
            if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        ),
    )


def _selector(selector: Json) -> tuple[Requirement, ...]:
    labels = (selector.get("matchLabels") or {}).items()
    exact = [Requirement(intern(key), "In", (intern(value),)) for key, value in labels]
    lines = selector.get("matchExpressions") or ()
    return (*exact, *(Requirement(e["key"], e["operator"], tuple(e.get("values") or ())) for e in lines))


def selector_text(selector: tuple[Requirement, ...]) -> str:
    """As `kubectl -l` takes it."""
    forms = {"Exists": "{0}", "DoesNotExist": "!{0}", "NotIn": "{0} notin ({1})"}
    return ",".join(
        f"{line.key}={line.values[0]}"
        if line.operator == "In" and len(line.values) == 1
        else forms.get(line.operator, "{0} in ({1})").format(line.key, ",".join(line.values))
        for line in selector
    )


def pod_record(body: Json) -> PodRecord:
    meta, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    annotations, said = meta.get("annotations") or {}, status.get("containerStatuses") or ()
    phase = status.get("phase", "Pending")
    return PodRecord(
        namespace=meta["namespace"],
        name=meta["name"],
        version=meta.get("resourceVersion", ""),
        uid=meta["uid"],
        labels=tuple(sorted((intern(k), intern(v)) for k, v in (meta.get("labels") or {}).items())),
        node=spec.get("nodeName", ""),
        phase="Pending" if phase == "Pending" else "Failed" if phase in {"Failed", "Succeeded"} else "Running",
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()),
        deleting="deletionTimestamp" in meta,
        started_at_ms=milliseconds(status.get("startTime") or meta.get("creationTimestamp")),
        control=_control(spec, status.get("podIP", "")),
        restarts=sum(container.get("restartCount", 0) for container in said),
        reason=_reason(status, said)[:120],
        protected=annotations.get(PROTECTED) == "true",
        cost=annotations.get(COST, ""),
    )


def _control(spec: Json, address: str) -> str:
    ports = [port for container in spec.get("containers") or () for port in container.get("ports") or ()]
    number = next((port["containerPort"] for port in ports if port.get("name") == CONTROL_PORT), None)
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{number}" if address and number else ""


def _reason(status: Json, said: Any) -> str:
    """Why it does not run: its containers' word, else the scheduler's."""
    for container in said:
        if waiting := (container.get("state") or {}).get("waiting"):
            return str(waiting.get("reason", ""))
    unmet = [c for c in status.get("conditions") or () if c["type"] == "PodScheduled" and c["status"] == "False"]
    return f"{unmet[0].get('reason', '')}: {unmet[0].get('message', '')}" if unmet else ""


def config_map_record(body: Json) -> ConfigMapRecord:
    meta = body["metadata"]
    return ConfigMapRecord(meta["namespace"], meta["name"], meta.get("resourceVersion", ""), config_map_digest(body))


def config_map_digest(body: Json) -> str:
    """Of what is ours in it, so that it can be compared with what was written."""
    meta = body["metadata"]
    annotations = meta.get("annotations") or {}
    return digest(
        {
            "data": body.get("data") or {},
            "said": {key: annotations.get(key) for key in (ROTATION, BUDGET)},
            "label": (meta.get("labels") or {}).get(TIERS),
            "owners": [owner.get("uid") for owner in meta.get("ownerReferences") or ()],
        }
    )


def hpa_record(body: Json) -> HpaRecord:
    meta, target = body["metadata"], body["spec"]["scaleTargetRef"]
    owners = [f"{owner['kind']}/{owner['name']}" for owner in meta.get("ownerReferences") or ()]
    return HpaRecord(
        namespace=meta["namespace"],
        name=meta["name"],
        version=meta.get("resourceVersion", ""),
        target=f"{target['kind']}/{target['name']}",
        owner=owners[0] if owners else "",
    )


def digest(value: Any) -> str:
    """Equal values, equal digests."""
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """The views that kopf hands out, as plain dicts and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def milliseconds(text: str | None) -> int:
    """Since 1970; 0 for a time that is not told."""
    return round(datetime.fromisoformat(text).timestamp() * 1000) if text else 0
