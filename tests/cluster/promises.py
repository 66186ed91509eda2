"""What the operator promises, in figures. Who measures one says so to the fixture `promise`; the run's end prints all of them side by side.

A promise of time is for a calm machine: a test fails only far past it, and what counts is the figure that is printed. Figures travel as
properties of the tests' reports, so that they arrive from any process that runs them.

Callers: conftest's fixture and its summary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import pytest


@dataclass(frozen=True, slots=True)
class Promise:
    """At most `promised`; past `fails` the test fails."""

    name: str
    promised: float
    fails: float
    unit: str = ""


PROMISES: Final = (
    Promise("decision period", 2, 6, "s"),
    Promise("load step → /scale written", 3, 15, "s"),
    Promise("tiers changed → all pods acked", 5, 15, "s"),
    Promise("breaker open → status", 2, 15, "s"),
    Promise("leader killed → next decision", 15, 45, "s"),
    Promise("decreases in the 300 s after", 0, 0),
    Promise("spec changed → first write, p99", 1, 10, "s"),
    Promise("idle object: writes in 300 s", 0, 0),
    Promise("1000 objects: memory", 150, 300, "MB"),
    Promise("1000 objects: all settled", 60, 170, "s"),
    Promise("1000 objects: cores at rest", 1, 1.5),
    Promise("failed requests of a decrease", 0, 0),
)
_BY_NAME: Final = {promise.name: promise for promise in PROMISES}


def note(test: pytest.Item, name: str, figure: float) -> None:
    """Keeps the figure with the test; fails far past what is promised."""
    told = _line(_BY_NAME[name], figure, test.nodeid)
    test.user_properties.append((name, figure))
    print(f"\n{told}")
    assert figure <= _BY_NAME[name].fails, told


def lines(reports: Iterable[pytest.TestReport]) -> list[str]:
    """One a promise, with its worst figure and the test that found it; none if nothing was measured."""
    worst: dict[str, tuple[float, str]] = {}
    for report in reports:
        for name, figure in report.user_properties:
            if name in _BY_NAME and isinstance(figure, float | int):
                worst[name] = max(worst.get(name, (figure, report.nodeid)), (figure, report.nodeid))
    return [_line(promise, *worst.get(promise.name, (None, "not measured"))) for promise in PROMISES if worst]


def _line(promise: Promise, figure: float | None, test: str) -> str:
    told = "-" if figure is None else f"{figure:.2f}".rstrip("0").rstrip(".")
    kept = "" if figure is None or figure <= promise.promised else "NOT KEPT "
    where = test.rpartition("/")[2]
    return f"{promise.name:<32}{told:>8} {promise.unit:<3}(promised {promise.promised:g})  {kept}{where}"
