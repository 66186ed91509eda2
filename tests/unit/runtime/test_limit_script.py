from __future__ import annotations

import hashlib

import pytest

from services.core.limits import GCRA, LOG, SLIDING, Carry, Limit, Reading
from services.runtime.limit_script import SCRIPT, SHA, Verdict, limit_key, policy_args, read_reply, script_call

MINUTE, BURST = Limit(SLIDING, 100, 60_000), Limit(GCRA, 10, 1000, enforced=False)
PASSES, REFUSES = True, False


def test_script_is_named_by_its_bytes() -> None:
    """EVALSHA's name is the SHA-1 of exactly what is loaded."""
    assert hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest() == SHA
    assert SCRIPT.startswith(b"local t = redis.call('TIME')\n")  # tests replace the first line by a clock of their own


def test_keys_share_a_slot() -> None:
    """The hash tag is the identifier."""
    assert limit_key("key:0123456789", "free") == "rl:{key:0123456789}:free"
    assert limit_key("key:0123456789", "free", LOG) == "rl:{key:0123456789}:free:l"


def test_arguments() -> None:
    """Six per limit, own and full only after an outage."""
    assert policy_args(BURST) == ("gcra", "shadow", "10", "1000", "0", "0")
    assert script_call("spend", 2, ["a", "b"], [MINUTE, BURST], [Carry(1, 2), Carry(0, 0)]) == (
        *(SHA, "2", "a", "b", "spend", "2", "-"),
        *("sliding", "enforce", "100", "60000", "1", "2"),
        *("gcra", "shadow", "10", "1000", "0", "0"),
    )


def test_replies() -> None:
    """Four numbers per limit."""
    assert read_reply([1, 5, 1, 3, 0, 0], 1) == Verdict(PASSES, 5, [Reading(PASSES, 3, 0, 0)])
    assert read_reply([0, 5, 0, 3, 2, 1], 1) == Verdict(REFUSES, 5, [Reading(REFUSES, 3, 2, 1)])


@pytest.mark.parametrize(
    "reply", [None, b"OK", [], [1, 5], [1, 5, 1, 3, 0], [1, 5, 1, None, 0, 0], [1, b"5", 1, 3, 0, 0]]
)
def test_another_shape_is_no_verdict(reply: object) -> None:
    """Whatever else Redis says is not taken for an admission."""
    assert read_reply(reply, 1) is None
