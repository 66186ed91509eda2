"""The numbers of data-path 3.5."""

from __future__ import annotations

from services.http1.limits import Deadlines, Limits, connections_max


def test_defaults() -> None:
    """They are the design's."""
    limits, deadlines = Limits(), Deadlines()
    assert (limits.request_line_max, limits.head_max, limits.fields_max) == (8192, 32768, 100)
    assert (limits.upstream_head_max, limits.upstream_fields_max, limits.body_max) == (65536, 200, 10_485_760)
    assert (limits.trailers_max, limits.pipeline_max, limits.pending_body_max, limits.replay_body_max) == (
        8192,
        16,
        65536,
        65536,
    )
    assert (limits.upstream_max, limits.connecting_max, limits.waiters_max) == (256, 16, 1024)
    assert (deadlines.head_s, deadlines.idle_s, deadlines.answer_stall_s, deadlines.total_s) == (5, 60, 30, 30)
    assert (limits.max_connections, limits.max_connections_per_ip, limits.streams_max) == (10_000, 512, 1000)
    assert (deadlines.crowded_idle_s, deadlines.tunnel_idle_s) == (5, 300)
    assert (deadlines.connect_s, deadlines.upstream_idle_s, deadlines.linger_s) == (1, 30, 1)


def test_each_connection_may_need_two_descriptors() -> None:
    """min(10 000, (NOFILE - 128) / 2), and at least one."""
    assert [connections_max(given) for given in (1 << 20, 20_128, 20_126, 1024, 64)] == [10_000, 10_000, 9_999, 448, 1]
