"""A cluster as a target: `kubectl` asks and writes, our models read. Nothing here knows how the cluster is reached."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from services.cli.errors import NOT_FOUND, CliError
from services.cli.instance import refused
from services.cli.output import clean
from services.cli.targets import kubectl
from services.cli.targets.kubectl import KIND, MovedError, Where
from services.cli.targets.patches import MANAGER, Patch, changed, handed_over
from services.cli.targets.target import Before, Change, Door, Happened, parsed
from services.controller.backends.record import restored
from services.schema.scalable_api import ScalableApi, ScalableApiSpec, TokenSecretRef
from services.schema.status import LastDecision, ObjectMetadata, StoredObject

KNOWN: Final = frozenset(f.alias or n for n, f in ObjectMetadata.model_fields.items())
ATTEMPTS: Final = 5
"""Of an edit that meets another: the second time it usually stands alone."""
AGAIN_S: Final = 1.0
"""Between two watches: the API server ends one after some minutes."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One namespace, as kubectl resolves it."""

    where: Where

    def place(self, found: StoredObject) -> str:
        names = (self.where.context, f"namespace {found.metadata.namespace}")
        return " ".join(name for name in names if name)

    def about(self, found: StoredObject) -> dict[str, str]:
        return {"context": self.where.context or "", "namespace": found.metadata.namespace or ""}

    def objects(self) -> list[StoredObject]:
        answer = json.loads(kubectl.ask(self.where, "get", KIND, "-o", "json"))
        return [stored(item) for item in answer["items"]]

    def object(self, name: str) -> StoredObject:
        return stored(json.loads(kubectl.ask(self.where, "get", f"{KIND}/{name}", "-o", "json")))

    def watch(self, name: str | None, within_s: float | None = None) -> Iterator[StoredObject]:
        deadline = None if within_s is None else time.monotonic() + within_s
        subject = KIND if name is None else f"{KIND}/{name}"
        last: dict[str, StoredObject] = {}
        while deadline is None or time.monotonic() < deadline:
            left = None if deadline is None else deadline - time.monotonic()
            for raw in kubectl.stream(self.where, "get", subject, "--watch", "-o", "json", within_s=left):
                found = stored(json.loads(raw))
                if last.get(found.metadata.name) != found:
                    last[found.metadata.name] = found
                    yield found
            time.sleep(AGAIN_S if deadline is None else max(0.0, min(AGAIN_S, deadline - time.monotonic())))

    def in_force(self, wanted: ScalableApi) -> ScalableApiSpec | None:
        try:
            return self._of(wanted).object(wanted.metadata.name).spec
        except CliError as error:
            if error.exit_code == NOT_FOUND and not error.code:
                return None
            raise

    def would(self, wanted: ScalableApi, raw: bytes) -> ScalableApiSpec:
        """The API server's own answer: what another manager set is a conflict, or stays."""
        answer = self._apply(wanted, raw, "--dry-run=server", "-o", "json")
        return stored(json.loads(answer)).spec or wanted.spec

    def write(self, wanted: ScalableApi, raw: bytes, source: str) -> None:  # noqa: ARG002
        self._apply(wanted, raw)

    def _apply(self, wanted: ScalableApi, raw: bytes, *more: str) -> bytes:
        words = ["apply", "--server-side", f"--field-manager={MANAGER}", "-f", "-", *more]
        return kubectl.ask(self._of(wanted).where, *words, stdin=raw)

    def taken(self, wanted: ScalableApi, found: StoredObject) -> bool:  # noqa: ARG002  # the API server has it at once
        return True

    def edit(self, found: StoredObject, change: Change) -> None:
        """A patch, so that only what differs becomes ours; then `apply` owns it, or it would meet itself in a conflict."""
        name = f"{KIND}/{found.metadata.name}"
        self._patch(name, lambda body: changed(body, change))
        self._patch(name, lambda body: handed_over(body["metadata"].get("managedFields", [])))

    def _patch(self, name: str, patch_of: Callable[[Any], Patch]) -> None:
        """What `patch_of` makes of the object as it is; anew if what it was made of has changed meanwhile."""
        for last in (False,) * (ATTEMPTS - 1) + (True,):
            body = json.loads(kubectl.ask(self.where, "get", name, "-o", "json", "--show-managed-fields"))
            patch = patch_of(body)
            words = ["--type=json", f"--field-manager={MANAGER}", "-p", json.dumps(patch)]
            try:
                if patch:
                    kubectl.ask(self.where, "patch", name, *words)
            except MovedError:
                if last:
                    raise
            else:
                return

    def tiers_before(self, found: StoredObject) -> Before:
        name = f"configmap/{found.metadata.name}-tiers"
        data = json.loads(kubectl.ask(self.where, "get", name, "-o", "json")).get("data") or {}
        history = yaml.safe_load(data.get("history.yaml", "[]"))
        record = restored(data.get("tiers.yaml", "").encode(), b"", history, {})
        return record.history if record else ()

    def events(self, name: str) -> list[Happened]:
        selector = f"--field-selector=involvedObject.kind=ScalableApi,involvedObject.name={name}"
        found = json.loads(kubectl.ask(self.where, "get", "events", selector, "-o", "json"))["items"]
        return sorted((happened(event) for event in found), key=lambda h: h.last_at)

    @contextlib.contextmanager
    def door(self, found: StoredObject) -> Iterator[Door]:
        """By port-forwards to one api and one gateway; the token is in the control Secret."""
        token = self._token(found)
        with (
            kubectl.forwarded(self.where, deployment(found, "api"), "control") as control,
            kubectl.forwarded(self.where, deployment(found, "gateway"), "http") as gateway,
        ):
            yield Door(gateway, [control], token)

    def _token(self, found: StoredObject) -> str:
        ref = found.spec.control.token_secret_ref if found.spec else TokenSecretRef()
        name = ref.name or f"{found.metadata.name}-control"
        data = json.loads(kubectl.ask(self.where, "get", f"secret/{name}", "-o", "json")).get("data") or {}
        if ref.key not in data:
            why = f"Secret {name} has no key {clean(ref.key)}"
            raise CliError("", "no control token", why, "spec.control.tokenSecretRef names it", NOT_FOUND)
        return base64.b64decode(data[ref.key]).decode()

    def live_decisions(self, found: StoredObject) -> dict[str, LastDecision]:  # noqa: ARG002
        why = "--live asks the controller's control port, which this version reaches on a local instance only"
        raise refused("no --live on a cluster", why, "leave --live out: status holds the last decision")

    def _of(self, wanted: ScalableApi) -> Cluster:
        """In the manifest's namespace unless one was named; kubectl refuses two that differ."""
        named = self.where.namespace or wanted.metadata.namespace
        w = self.where
        return Cluster(Where(w.context, w.kubeconfig, named, w.as_user))


def stored(body: Any) -> StoredObject:
    """The API server keeps more in metadata than our model has."""
    metadata = {key: value for key, value in body["metadata"].items() if key in KNOWN}
    version = (body.get("status") or {}).get("controllerVersion") or "an unknown version"
    return parsed({**body, "metadata": metadata}, f"the operator, version {version}")


def deployment(found: StoredObject, component: str) -> str:
    """As the operator finds it."""
    entry = next((c for c in found.spec.components if c.name == component), None) if found.spec else None
    named = entry.target_ref.name if entry and entry.target_ref else None
    return f"deployment/{named or f'{found.metadata.name}-{component}'}"


def happened(event: Any) -> Happened:
    """Of both generations of Events: a series counts where the old ones had a count."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    at = next((t for t in times if t), event["metadata"]["creationTimestamp"])
    count = series.get("count") or event.get("count") or 1
    return Happened(at, event.get("type", ""), event.get("reason", ""), count, event.get("message", ""))
