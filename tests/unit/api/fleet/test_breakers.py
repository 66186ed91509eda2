from __future__ import annotations

from typing import Any

from services.api.fleet.breakers import merge, worst
from services.api.fleet.collection import Answer, Process


def row(state: str, *times: str, failures: int = 0) -> dict[str, Any]:
    changes = [{"from": "closed", "to": "open", "timestamp": t} for t in times]
    counts = {"totalCalls": 3, "successfulCalls": 1, "failedCalls": 1, "rejectedCalls": 1}
    stats = {**counts, "stateChanges": changes}
    last = times[-1] if times else None
    return {"name": "n", "state": state, "failures": failures, "lastFailure": last, "forced": False, "stats": stats}


def answer(instance: str, **rows: Any) -> Answer[dict[str, Any]]:
    return Answer(Process(instance, "balancer", instance, None), rows)


def test_merged() -> None:
    """The worst state, the latest failure, counts added, the last fifty changes in order, and who said what; odd
    values are left out.
    """
    many = [f"2026-01-01T00:00:{second:02d}.000Z" for second in range(40)]
    later = [f"2026-01-02T00:00:{second:02d}.000Z" for second in range(40)]
    one, two = answer("b-1", n=row("closed", *later)), answer("b-2", n=row("open", *many, failures=4))
    dead: Answer[dict[str, Any]] = Answer(Process("b-3", "", "", None), None, 0)
    found = merge([one, two, dead, answer("g-1", breakers=[])])
    assert list(found) == ["n"]
    assert (found["n"]["state"], found["n"]["failures"], found["n"]["lastFailure"]) == ("open", 4, later[-1])
    assert found["n"]["stats"]["totalCalls"] == 6
    changes = found["n"]["stats"]["stateChanges"]
    assert len(changes) == 50
    assert changes == sorted(changes, key=lambda c: c["timestamp"])
    assert [(p["instance"], p["state"]) for p in found["n"]["processes"]] == [("b-1", "closed"), ("b-2", "open")]


def test_worst() -> None:
    """open before half-open before closed."""
    assert worst([row("closed"), row("half-open")]) == "half-open"
    assert worst([]) == "closed"
