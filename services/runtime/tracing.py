"""Spans of sampled requests: a ring on the request's side, a thread that sends on the other (data-path.md §10).

Spans exist only with OTEL_EXPORTER_OTLP_ENDPOINT: without it a process has no `Tracing`, wires none of the stages that
note times, and imports nothing of OpenTelemetry. With it a request that is not sampled costs a look at one flag. The
gateway decides which are (`limit_of`), the others follow the flag of `traceparent`. A collector that is slow or away
costs spans, counted, never a request.

Callers: process.py starts and ends it; http1.spans and api.tracing add spans; otlp.py is the way out.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from services.runtime.log import get_log

if TYPE_CHECKING:
    from services.runtime.metrics import Metrics
    from services.runtime.settings import Settings

RING: Final = 2048
BATCH: Final = 512
EVERY_S: Final = 1.0
INTERNAL: Final = "internal"
SERVER: Final = "server"
CLIENT: Final = "client"
ALL: Final = b"g"  # above every hexadecimal digit

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Span:
    """One timed thing. Ids are lower-case hex; `parent_id` is empty at the root; times are `time.monotonic`'s seconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_s: float
    end_s: float
    kind: str = INTERNAL
    failed: bool = False
    attributes: Mapping[str, str | int] = field(default_factory=dict)


Send = Callable[[Sequence[Span]], bool]
"""Sends a batch, may take its time; False: it did not get there. Called in the thread."""


def limit_of(ratio: float) -> bytes:
    """What the last sixteen hex digits of a random trace id must be below, to sample this share of all traces."""
    return ALL if ratio >= 1 else b"%016x" % int(ratio * 2**64)


def sender(settings: Settings) -> Send | None:
    """The way out that the settings name, None without one. Raises SettingsError when its packages are missing."""
    endpoint: str | None = getattr(settings, "otel_exporter_otlp_endpoint", None)
    if endpoint is None:
        return None
    from services.runtime.otlp import otlp_sender

    return otlp_sender(endpoint, settings)


class Tracing:
    """The ring and its thread. `add` never waits: when the ring is full the oldest span goes."""

    def __init__(self, send: Send, metrics: Metrics, every_s: float = EVERY_S) -> None:
        self._send, self._every_s = send, every_s
        self._ring: deque[Span] = deque(maxlen=RING)
        self._exported = self._overrun = self._lost = 0  # the second is the loop's, the others the thread's
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracing", daemon=True)
        self._thread.start()
        metrics.counting("spans_total", "Spans by what became of them", self._counts, ("outcome",))

    def add(self, span: Span) -> None:
        self._overrun += len(self._ring) == RING
        self._ring.append(span)

    def close(self, within_s: float = 1.0) -> None:
        """Send what is left, if the collector takes it in time."""
        self._stop.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        arrives = True
        while not self._stop.wait(self._every_s):
            arrives = self._flush(arrives)
        self._flush(arrives)

    def _flush(self, arrived: bool) -> bool:
        """All there is, in batches; whether the last one got there. A change is one line in the log."""
        while batch := self._taken():
            if arrives := self._send(batch):
                self._exported += len(batch)
            else:
                self._lost += len(batch)
            if arrives != arrived:
                log.warning("spans arrive again" if arrives else "spans do not arrive", spans=len(batch))
            arrived = arrives
        return arrived

    def _taken(self) -> list[Span]:
        batch: list[Span] = []
        while self._ring and len(batch) < BATCH:
            batch.append(self._ring.popleft())
        return batch

    def _counts(self) -> dict[tuple[str, ...], float]:
        counts = {"exported": self._exported, "overrun": self._overrun, "lost": self._lost}
        return {(outcome,): float(count) for outcome, count in counts.items()}
