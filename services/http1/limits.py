"""How much a peer may send, how long it may take, how many connections there are (data-path 3.5).

Made by the apps from their settings and given to `HttpServer` and `Pool`; the defaults are the ones that hold when
nothing is set.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
CONNECTIONS_MAX = 10_000
DESCRIPTORS_SPARE = 128  # listeners, stores, log, files; and for connections that are being turned away


def connections_max(descriptors: int) -> int:
    """What a process with so many descriptors may take: each connection may need a second one, to the next hop."""
    return max(1, min(CONNECTIONS_MAX, (descriptors - DESCRIPTORS_SPARE) // 2))


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, unless the name says otherwise. From nginx and haproxy (8 KiB lines, 100 fields) and linkerd (64 KiB kept
    for a replay).
    """

    request_line_max: int = 8 * KIB
    head_max: int = 32 * KIB
    fields_max: int = 100
    upstream_head_max: int = 64 * KIB
    upstream_fields_max: int = 200
    body_max: int = 10 * KIB * KIB
    trailers_max: int = 8 * KIB
    chunk_framing_max: int = 16 * KIB
    chunk_framing_each: int = 24
    pipeline_max: int = 16
    pending_body_max: int = 64 * KIB
    replay_body_max: int = 64 * KIB
    whole_answer_max: int = 16 * KIB
    linger_max: int = 64 * KIB
    interim_max: int = 8
    max_connections: int = CONNECTIONS_MAX
    max_connections_per_ip: int = 512  # of peers that are not trusted
    upstream_max: int = 256
    connecting_max: int = 16
    waiters_max: int = 1024
    streams_max: int = 1000


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds; `idle_s`, `connection_age_s` and `upstream_age_s` are drawn ± 10 % once per connection."""

    head_s: float = 5.0
    body_grace_s: float = 5.0
    body_rate_min: int = KIB  # bytes per second, after the grace
    idle_s: float = 60.0
    crowded_idle_s: float = 5.0  # instead, from CROWDED of `max_connections` on
    answer_stall_s: float = 30.0
    connection_age_s: float = 600.0
    upstream_age_s: float = 600.0
    upstream_idle_s: float = 30.0
    connect_s: float = 1.0
    total_s: float = 30.0
    linger_s: float = 1.0
    tunnel_idle_s: float = 300.0
