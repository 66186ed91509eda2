"""kopf's part: watches alone, set up row by row."""

from __future__ import annotations

import re
from pathlib import Path

import kopf

import scalable_operator
from scalable_operator.handlers import watches

SOURCE = Path(scalable_operator.__file__).parent
FORBIDDEN = re.compile(
    r"kopf\.(on\.(create|update|delete|resume|field|timer|startup|validate|mutate)|timer|daemon|subhandler)\b"
    r"|\b(CoreV1Api|AppsV1Api|CustomObjectsApi|V1[A-Z]\w+)\b|kubernetes\.client\b|kubernetes\.aio\.(watch|leaderelection)"
)


def test_nothing_that_writes_by_itself() -> None:
    """No timers, daemons, change handlers (they patch, they add finalizers); no typed client class (130 MB)."""
    files = list(SOURCE.rglob("*.py"))
    assert len(files) > 10
    assert [f"{file.name}: {found[0]}" for file in files for found in FORBIDDEN.finditer(file.read_text())] == []


def test_the_settings() -> None:
    """operator.md §10's values, those that kopf would choose otherwise."""
    made = watches.settings()
    assert (made.watching.inactivity_timeout, made.watching.server_timeout, made.watching.connect_timeout) == (
        70,
        600,
        10,
    )
    assert (made.watching.chunk_size, made.execution.default_backoff) == (100, 5)
    assert made.queueing.worker_limit is None  # tests/cluster/test_operator_rest.py: 130 pods
    assert made.networking.enforce_retry_after
    assert made.networking.error_backoffs == watches.BACKOFFS_S
    assert max(watches.BACKOFFS_S) <= 3
    assert 50 <= sum(watches.BACKOFFS_S) <= 90
    assert made.networking.request_timeout == 30
    assert made.scanning.disabled
    assert not made.posting.enabled
    assert made.persistence.finalizer == "scalableapi.io/finalizer"
    assert made.process.ultimate_exiting_timeout == 20


def test_five_watches() -> None:
    """Each an event handler, and the way in; no index, whose gate costs the square of the objects."""
    made = watches.registry(lambda _what, _record: None)
    ids = sorted(handler.id for handler in made._watching.get_all_handlers())
    assert ids == ["configmaps", "deployments", "horizontalpodautoscalers", "pods", "scalableapis"]
    assert list(made._indexing.get_all_handlers()) == []
    assert isinstance(made, kopf.OperatorRegistry)
