from __future__ import annotations

import re

from services.runtime.ids import DRAWN, draw_ids


def test_ids_are_well_formed_and_never_meet():
    """Over several draws: right lengths, hex digits, no two alike."""
    pairs = [draw_ids() for _ in range(3 * DRAWN + 7)]
    assert all(re.fullmatch(rb"[0-9a-f]{32}", trace) and re.fullmatch(rb"[0-9a-f]{16}", span) for trace, span in pairs)
    assert len({trace for trace, _ in pairs}) == len({span for _, span in pairs}) == len(pairs)
