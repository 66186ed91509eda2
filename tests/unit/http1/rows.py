"""The rules the tables of vectors stand for, each by its place: requests 3.1, answers 3.2, names 3.3, targets 3.4, limits 3.5; D: what
clients send, U: what upstreams send. Where no single message can show a rule, the test that does is named beside it.

tests/integration/test_http1_vectors.py holds this list against the tables: no row without a vector or a test, no vector without a row.
"""

from __future__ import annotations

from typing import Final

VECTORS: Final = "vectors"  # in the tables; shown whole, split at every byte and byte by byte
HERE: Final = "tests/integration/test_http1_vectors.py"
UNIT: Final = "tests/unit/http1"

ROWS: Final[dict[str, str]] = {
    "3.1 served": VECTORS,  # CRLF in front, two spaces, body on GET, bytes 80-FF, spaces around values, pipelines
    "3.1 nothing after a bad message": VECTORS,
    "3.1 length with coding": VECTORS,
    "3.1 length": VECTORS,  # twice, list, sign, hex, _, space, empty, leading zero, 2^63
    "3.1 coding we lack": VECTORS,
    "3.1 coding": VECTORS,
    "3.1 chunk": VECTORS,  # size, line end, data not followed by CRLF, a bare ;
    "3.1 extension": VECTORS,  # and the sum of all framing
    "3.1 trailers": VECTORS,
    "3.1 head syntax": VECTORS,
    "3.1 underscore": VECTORS,
    "3.1 Host": VECTORS,
    "3.1 absolute-form": VECTORS,
    "3.1 OPTIONS *": VECTORS,
    "3.1 CONNECT": VECTORS,
    "3.1 TRACE, method the route lacks": f"{HERE}::test_routes",
    "3.1 unknown method": VECTORS,
    "3.1 no method": VECTORS,
    "3.1 version": VECTORS,
    "3.1 request line and head": VECTORS,
    "3.1 body over the limit": VECTORS,
    "3.1 body grows over the limit": f"{HERE}::test_grown_body",
    "3.1 Connection names framing": VECTORS,
    "3.1 Connection names others": VECTORS,
    "3.1 once": VECTORS,
    "3.1 expectation and loop": VECTORS,
    "3.1 slow head, slow body": f"{UNIT}/test_sweeper.py::test_slow_head",
    "3.2 rejected": VECTORS,
    "3.2 version, status, coding, 205": VECTORS,
    "3.2 surplus": VECTORS,
    "3.2 reason phrase": VECTORS,
    "3.2 once the head has gone on": VECTORS,
    "3.2 splitting": f"{UNIT}/test_heads.py::test_no_line_can_be_split",
    "3.3 hop-by-hop": VECTORS,
    "3.3 made anew": VECTORS,
    "3.3 credentials": VECTORS,
    "3.3 internal": VECTORS,
    "3.3 misleading": VECTORS,
    "3.3 forwarded": VECTORS,
    "3.3 answers": VECTORS,
    "3.4 plain": VECTORS,
    "3.4 refused characters": VECTORS,
    "3.4 refused escapes": VECTORS,
    "3.4 normal form": VECTORS,
    "3.4 the balancer refuses what it would change": f"{UNIT}/test_requests.py::test_strict_targets",
    "3.5 request_line_max": VECTORS,
    "3.5 head_max": VECTORS,
    "3.5 fields_max": VECTORS,
    "3.5 upstream_head_max, upstream_fields_max": VECTORS,
    "3.5 body_max": VECTORS,
    "3.5 trailers_max": VECTORS,
    "3.5 chunk_framing_max": VECTORS,
    "3.5 pipeline_max": f"{UNIT}/test_intake.py::test_queue_is_bounded",
    "3.5 pending_body_max": VECTORS,
    "3.5 deadlines": f"{UNIT}/test_sweeper.py::test_slow_head",
    **dict.fromkeys((f"D{n}" for n in (*range(1, 17), 18, 19, 20, 21, 23)), VECTORS),
    "D17": f"{HERE}::test_ten_thousand_pipelined",
    "D22": "tests/integration/test_gateway.py::test_old_fault_5b_behind_a_trusted_proxy",
    "D24": "tests/integration/test_gateway.py::test_old_fault_5a_a_forged_address_changes_nothing",
    "D25": f"{HERE}::test_split_at_every_byte",
    "D26": f"{HERE}::test_reset_at_every_byte",
    **dict.fromkeys((f"U{n}" for n in (1, 2, 3, 4, 5, 7)), VECTORS),
    "U6": f"{UNIT}/test_server.py::test_close_framed_answer",
}
