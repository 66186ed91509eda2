"""What the operator promises, in figures. Who measures one says so to the fixture `promise`; the run's end prints all of them side by side.

A promise of time is for a calm machine: a test fails only far past it, and what counts is the figure that is printed.

Callers: conftest's fixture and its summary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


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
    Promise("1000 objects: memory", 150, 420, "MB"),
    Promise("1000 objects: all settled", 60, 170, "s"),
    Promise("1000 objects: cores at rest", 1, 1.5),
    Promise("failed requests of a decrease", 0, 0),
)
_BY_NAME: Final = {promise.name: promise for promise in PROMISES}


@dataclass(slots=True)
class Ledger:
    """The run's worst figure of each, and the test it comes from."""

    measured: dict[str, tuple[float, str]] = field(default_factory=dict)

    def note(self, name: str, figure: float, test: str) -> None:
        """Fails far past what is promised."""
        promise = _BY_NAME[name]
        self.measured[name] = max(self.measured.get(name, (figure, test)), (figure, test))
        print(f"\n{_line(promise, figure, '')}")
        assert figure <= promise.fails, _line(promise, figure, test)

    def lines(self) -> list[str]:
        """One a promise, those without a figure too; none if the run measured none."""
        return [_line(p, *self.measured.get(p.name, (None, "not measured"))) for p in PROMISES if self.measured]


def _line(promise: Promise, figure: float | None, test: str) -> str:
    told = "-" if figure is None else f"{figure:.2f}".rstrip("0").rstrip(".")
    kept = "" if figure is None or figure <= promise.promised else "NOT KEPT "
    return f"{promise.name:<32}{told:>8} {promise.unit:<3}(promised {promise.promised:g})  {kept}{test}".rstrip()
