from __future__ import annotations

import json

import msgspec
import pytest

from services.schema.snapshot import (
    SNAPSHOT_MAX_BYTES,
    BreakerState,
    EndpointState,
    Event,
    Latency,
    LimiterState,
    Snapshot,
    TierState,
    decode,
    encode,
)


def snapshot(**more: object) -> Snapshot:
    base = Snapshot(
        component="gateway",
        instance="gateway-1",
        version="1.0.0",
        started_at="2026-01-01T00:00:00.000Z",
        at="2026-01-01T00:00:01.000Z",
        seq=1,
        ready=True,
        draining=False,
        in_flight=2,
        requests=3,
        rps=1.5,
        error_rate=0.0,
        latency=Latency(1, 2, 3),
        loop_lag_ms=0.2,
        cpu=12.5,
        rss_bytes=1,
        tasks=4,
    )
    return msgspec.structs.replace(base, **more)


def test_names_are_camel_case():
    """The wire has the contract's member names."""
    body = json.loads(encode(snapshot(breakers=(BreakerState("api-1", "open", retry_at="x"),))))
    assert {"startedAt", "inFlight", "errorRate", "loopLagMs", "rssBytes"} <= body.keys()
    assert body["breakers"][0]["retryAt"] == "x"
    assert body["tier"] is None


def test_what_is_written_is_read():
    """encode and decode are inverse; unknown members of a newer process are ignored."""
    one = snapshot(
        tier=TierState(1, "sha256:x"), limiter=LimiterState("exact", degraded=False), dependencies={"redis": True}
    )
    assert decode(encode(one)) == one
    newer = json.loads(encode(one)) | {"somethingNew": 1}
    assert decode(json.dumps(newer).encode()) == one


def test_rubbish_is_refused():
    """What is no snapshot raises msgspec's error."""
    for data in (b"", b"{}", b'{"component": 1}'):
        with pytest.raises(msgspec.DecodeError):
            decode(data)


def test_it_never_passes_64_kib():
    """A process with a thousand endpoints and long events still answers within its bound; breakers are kept."""
    events = tuple(Event("t", "k", "info", "s", "m" * 900) for _ in range(50))
    endpoints = tuple(EndpointState(f"endpoint-{number:040}", "healthy") for number in range(1000))
    breakers = tuple(BreakerState(f"b{number}", "open", reason="r" * 100) for number in range(50))
    data = encode(snapshot(events=events, endpoints=endpoints, breakers=breakers))
    assert len(data) <= SNAPSHOT_MAX_BYTES
    assert len(decode(data).breakers) == 50
