"""The state tables themselves: every state can be left and reached, ends are ends."""

from __future__ import annotations

import pytest

from services.http1 import states

TABLES = [(states.CLIENT, states.IDLE, states.CLOSED), (states.UPSTREAM, states.CONNECTING, states.GONE)]


@pytest.mark.parametrize(("table", "start", "end"), TABLES)
def test_every_state_is_reached_and_left(table: dict[int, dict[str, int]], start: int, end: int) -> None:
    """From the start each state can be reached, from each the end, which has no way out."""
    reached, todo = {start}, [start]
    while todo:
        for after in table[todo.pop()].values():
            if after not in reached:
                reached.add(after)
                todo.append(after)
    assert reached == set(table)
    assert all(end in moves.values() for state, moves in table.items() if state != end)
    assert table[end] == {}


def test_checks() -> None:
    """Staying is allowed, an empty cell is not."""
    assert states.check_client(states.HEAD, states.HEAD)
    assert states.check_client(states.HEAD, states.ACTIVE)
    assert not states.check_client(states.CLOSED, states.IDLE)
    assert states.check_upstream(states.SENT, states.BODY)
    assert not states.check_upstream(states.FREE, states.BODY)
