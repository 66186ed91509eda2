"""The numbers of data-path 3.5."""

from __future__ import annotations

from services.http1.limits import Deadlines, Limits


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
    assert (deadlines.connect_s, deadlines.upstream_idle_s, deadlines.linger_s) == (1, 30, 1)
