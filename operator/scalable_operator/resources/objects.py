"""What is written, as the API server takes it: pure builders, a record or a status in, an object out. Caller: backend."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import yaml

from scalable_operator.records import BUDGET, COST, ROTATION, TIERS, ApiRecord, milliseconds
from services.controller.backend import Event, Record
from services.controller.backends.record import ACTIVE, CANDIDATE, history_of, restored, state_of
from services.schema.documents import DocumentError, load
from services.schema.status import Status
from services.schema.tiers import render

Object = dict[str, Any]
HISTORY: Final = "history.yaml"
MAX_BYTES: Final = 1 << 20
REPORTER: Final = "scalableapi.io/operator"


def config_map_name(api: ApiRecord) -> str:
    return f"{api.name}-tiers"


def config_map(api: ApiRecord, record: Record, version: str) -> Object:
    """The rotation's record; with a `version` it is refused if another one is stored."""
    state = state_of(record)
    budget = state.pop("budget")
    history: str = yaml.dump(history_of(record), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    data = {HISTORY: history}
    data |= {ACTIVE: render(record.active).decode()} if record.active else {}
    data |= {CANDIDATE: render(record.candidate).decode()} if record.candidate else {}
    owner = {"apiVersion": "scalableapi.io/v1", "kind": "ScalableApi", "name": api.name, "uid": api.uid}
    said = {ROTATION: _json(state)} | ({BUDGET: _json(budget)} if budget else {})
    metadata: Object = {
        "name": config_map_name(api),
        "namespace": api.namespace,
        "labels": {TIERS: "true"},
        "annotations": said,
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": False}],
    }
    metadata |= {"resourceVersion": version} if version else {}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def record_of(body: Mapping[str, Any]) -> Record | None:
    """The record of a ConfigMap; None when its document cannot be read."""
    metadata, data = body["metadata"], body.get("data") or {}
    annotations = metadata.get("annotations") or {}
    state = _parsed(annotations.get(ROTATION))
    state = {**state, "budget": _parsed(annotations.get(BUDGET))} if isinstance(state, dict) else {}
    history = _yaml(data.get(HISTORY, ""))
    active, candidate = data.get(ACTIVE, "").encode(), data.get(CANDIDATE, "").encode()
    found = restored(active, candidate, history, state, milliseconds(metadata.get("creationTimestamp")))
    return replace(found, seen=metadata["resourceVersion"]) if found else None


def status(api: ApiRecord, found: Status) -> Object:
    """Whole: what it named before and does not now is gone. The uid keeps it off a namesake."""
    return {
        "apiVersion": "scalableapi.io/v1",
        "kind": "ScalableApi",
        "metadata": {"name": api.name, "namespace": api.namespace, "uid": api.uid},
        "status": found.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def scale(replicas: int, version: str) -> Object:
    return {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}


def cost(uid: str, value: str | None) -> Object:
    """None removes it."""
    return {"metadata": {"uid": uid, "annotations": {COST: value}}}


def event(api: ApiRecord, told: Event, instance: str, now: datetime | None = None) -> Object:
    """Created once, never patched: whoever floods is held back before."""
    moment = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    regarding = {"apiVersion": "scalableapi.io/v1", "kind": "ScalableApi"}
    regarding |= {"namespace": api.namespace, "name": api.name, "uid": api.uid}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{api.name}.{uuid.uuid4().hex[:16]}", "namespace": api.namespace},
        "eventTime": moment,
        "type": told.type,
        "reason": told.reason,
        "note": told.message[:1024],
        "action": told.subject[:128] or "Reconcile",
        "regarding": regarding,
        "reportingController": REPORTER,
        "reportingInstance": instance[:128],
    }


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _yaml(text: str) -> Any:
    try:
        return load(text.encode(), max_bytes=MAX_BYTES).value
    except DocumentError:
        return None
