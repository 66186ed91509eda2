"""What kopf is asked for: five watches, each an event handler, and its settings (operator.md §10).

No timers, daemons or change handlers: those write finalizers, annotations and patches of their own. No indexes: kopf
holds back every event until all objects of all indexed kinds were seen once, and each of its workers that waits wakes
at each step of every other; whether the watches are full is `compare`'s question.

Caller: watcher.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import kopf

from scalable_operator import records
from scalable_operator.records import COMPONENT, TIERS
from scalable_operator.store import Record

Sink = Callable[[str, Record], None]
"""Takes 'put' or 'drop', and the record."""
SELECTORS: Final[Mapping[str, str]] = {"deployments": COMPONENT, "pods": COMPONENT, "configmaps": f"{TIERS}=true"}
WATCHED: Final[tuple[tuple[tuple[str, str, str], Callable[[Mapping[str, Any]], Record]], ...]] = (
    (("apps", "v1", "deployments"), records.deployment_record),
    (("", "v1", "pods"), records.pod_record),
    (("", "v1", "configmaps"), records.config_map_record),
    (("autoscaling", "v2", "horizontalpodautoscalers"), records.hpa_record),
)
BACKOFFS_S: Final = (1, 1, 2, *[3] * 20)
"""kopf's own grow to minutes: a watch that failed for half a minute would be looked after a quarter minute late. After a
minute of failures it ends, and the process with it."""
OURS: Final = ("scalableapi.io", "v1", "scalableapis")


def registry(sink: Sink) -> kopf.OperatorRegistry:
    """The handlers; each hands a record to `sink`."""
    made = kopf.OperatorRegistry()
    for resource, parse in WATCHED:
        _watch(made, resource, parse, sink)
    _watch_ours(made, sink)
    kopf.on.login(registry=made)(login)
    return made


async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """The pod's service account, else KUBECONFIG."""
    return connection(kwargs["settings"])


def connection(settings: kopf.OperatorSettings) -> kopf.ConnectionInfo | None:
    """Outside a handler too."""
    found = kopf.login_with_service_account(settings=settings)
    return found or kopf.login_with_kubeconfig(settings=settings)


def _watch(
    made: kopf.OperatorRegistry,
    resource: tuple[str, str, str],
    parse: Callable[[Mapping[str, Any]], Record],
    sink: Sink,
) -> None:
    group, version, plural = resource

    async def event(type: str | None, body: Mapping[str, Any], **_: Any) -> None:  # noqa: A002  # kopf's name
        sink("drop" if type == "DELETED" else "put", parse(body))

    kopf.on.event(group=group, version=version, plural=plural, id=plural, registry=made)(event)


def _watch_ours(made: kopf.OperatorRegistry, sink: Sink) -> None:
    """A spec is parsed once per generation."""
    group, version, plural = OURS
    known: dict[str, records.ApiRecord] = {}

    async def event(type: str | None, body: Mapping[str, Any], **_: Any) -> None:  # noqa: A002  # kopf's name
        uid = body["metadata"]["uid"]
        record = records.api_record(body, known.pop(uid, None))
        if type != "DELETED":
            known[uid] = record
        sink("drop" if type == "DELETED" else "put", record)

    kopf.on.event(group=group, version=version, plural=plural, id=plural, registry=made)(event)


def settings() -> kopf.OperatorSettings:
    """operator.md §10, row by row.

    `queueing.worker_limit` stays unset: a worker holds its place for a while after its object's last event, so a limit
    makes the first list of thousands a matter of minutes.
    """
    made = kopf.OperatorSettings()
    made.watching.inactivity_timeout = 70
    made.watching.server_timeout = 600
    made.watching.connect_timeout = 10
    made.watching.reconnect_backoff = 2  # before a list anew; a watch that merely ended goes on at once
    made.watching.chunk_size = 100  # parsed whole, each
    for plural, selector in SELECTORS.items():
        group = "apps" if plural == "deployments" else ""
        made.watching.label_selectors[group, "v1", plural] = selector
    made.networking.request_timeout = 30
    made.networking.enforce_retry_after = True
    made.networking.error_backoffs = BACKOFFS_S
    made.scanning.disabled = True
    made.posting.enabled = False
    made.peering.standalone = True
    made.execution.default_backoff = 5
    # a worker holds its object's body for so long: of the first list's thousands at once
    made.queueing.idle_timeout = 0.01
    made.process.ultimate_exiting_timeout = 20
    made.persistence.finalizer = "scalableapi.io/finalizer"
    made.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="scalableapi.io")
    made.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix="scalableapi.io")
    return made
