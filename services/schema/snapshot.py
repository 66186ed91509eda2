"""What a process says about itself on its control port: `GET /control/v1/snapshot`, contract.md 1.11.

msgspec, not pydantic: the controller reads one from every process each second. Members are camelCase on the wire;
what a component does not have is null or empty. Read by the controller, the api's fleet view and the CLI; made by
runtime/vitals.py and the component.
"""

from __future__ import annotations

from typing import Final

import msgspec

SNAPSHOT_MAX_BYTES: Final = 64 * 1024


class Latency(msgspec.Struct, frozen=True, rename="camel"):
    """Milliseconds over the last full second; 0 when it saw no request."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


class TierState(msgspec.Struct, frozen=True, rename="camel"):
    """The tiers document in force."""

    revision: int
    hash: str


class BreakerState(msgspec.Struct, frozen=True, rename="camel"):
    """state: closed, half-open, open; times RFC 3339."""

    name: str
    state: str
    since: str = ""
    reason: str = ""
    forced: bool = False
    retry_at: str | None = None


class EndpointState(msgspec.Struct, frozen=True, rename="camel"):
    """An endpoint as this process sees it; states: data-path.md 7."""

    id: str
    state: str


class LimiterState(msgspec.Struct, frozen=True, rename="camel"):
    """mode: exact, local, off."""

    mode: str
    degraded: bool
    denied_rps: float = 0.0
    shadow_denied_rps: float = 0.0


class ShedState(msgspec.Struct, frozen=True, rename="camel"):
    """Refused for lack of this process's own capacity; level: classes that lose something, 0 to 3."""

    level: int = 0
    rps: float = 0.0


class QueueState(msgspec.Struct, frozen=True, rename="camel"):
    """Requests that wait for the next hop's capacity, and those that were refused for lack of it."""

    depth: int = 0
    oldest_ms: float = 0.0
    refused_rps: float = 0.0


class CacheState(msgspec.Struct, frozen=True, rename="camel"):
    """The api's two levels, since start; averages are the reader's."""

    l1_hits: int = 0
    l2_hits: int = 0
    misses: int = 0
    entries: int = 0
    bytes: int = 0


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """Something that changed: breaker opened, endpoint ejected, limiter degraded, tiers refused."""

    at: str
    kind: str
    severity: str
    subject: str
    message: str


class Snapshot(msgspec.Struct, frozen=True, rename="camel"):
    component: str
    instance: str
    version: str
    started_at: str
    at: str
    seq: int
    ready: bool
    draining: bool
    in_flight: int
    requests: int  # since start
    rps: float
    error_rate: float  # 5xx ÷ all
    latency: Latency
    loop_lag_ms: float
    cpu: float  # % of one core, or of the limit if lower
    rss_bytes: int
    tasks: int
    tier: TierState | None = None
    breakers: tuple[BreakerState, ...] = ()
    endpoints: tuple[EndpointState, ...] = ()
    limiter: LimiterState | None = None
    shed: ShedState | None = None
    queue: QueueState | None = None
    cache: CacheState | None = None
    dependencies: dict[str, bool] = {}  # msgspec copies an empty default per instance
    degraded: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()  # the latest 50


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Snapshot)


def encode(snapshot: Snapshot) -> bytes:
    """JSON of at most SNAPSHOT_MAX_BYTES: events go first, then what is past a hundred endpoints and breakers."""
    data = _encoder.encode(snapshot)
    if len(data) > SNAPSHOT_MAX_BYTES:
        data = _encoder.encode(msgspec.structs.replace(snapshot, events=()))
    if len(data) > SNAPSHOT_MAX_BYTES:
        fewer = msgspec.structs.replace(
            snapshot, events=(), endpoints=snapshot.endpoints[:100], breakers=snapshot.breakers[:100]
        )
        data = _encoder.encode(fewer)
    return data


def decode(data: bytes) -> Snapshot:
    """Raises msgspec.DecodeError (ValidationError among them) for what is no snapshot."""
    return _decoder.decode(data)
