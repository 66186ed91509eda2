"""What is remembered of one object between two visits: nothing here is needed for correctness, only for smoothness.

Caller: controller.visit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from services.controller.accept import Checked
from services.controller.acks import Acks
from services.controller.backend import Record
from services.controller.decide import Minded
from services.controller.facts import History
from services.controller.news import Told
from services.controller.observe import Watch
from services.controller.prometheus import Fetched
from services.controller.rotation import Memo
from services.controller.status import Shown
from services.controller.trials import Trials
from services.core import circuits
from services.core.autoscale import Decision
from services.core.budget import Line

REST_MS: Final = 5000
"""Between two writes of a status in which nothing turned."""
TOKEN_MS: Final = 10_000
"""Between two readings of a token that was refused."""


@dataclass(slots=True)
class Mind:
    """One object's past, as far as it matters. `status` was written, `latest` is this tick's."""

    namespace: str = ""
    name: str = ""
    generation: int = 0
    watch: Watch = field(default_factory=Watch)
    checked: Checked = field(default_factory=Checked)
    components: dict[str, Minded] = field(default_factory=dict)
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    acks: Acks = field(default_factory=Acks)
    trials: Trials = field(default_factory=Trials)
    record: Record | None = None
    line: Line | None = None
    memo: Memo = field(default_factory=Memo)
    history: History = field(default_factory=History)
    circuits: circuits.Memory = field(default_factory=circuits.Memory)
    status: Shown = field(default_factory=Shown)
    latest: Shown = field(default_factory=Shown)
    written_ms: int = -REST_MS
    circuit_writes: tuple[int, ...] = ()
    token: str = ""
    token_ms: int = -TOKEN_MS
    unauthorized: bool = False
    fetched: Fetched = field(default_factory=Fetched)
    asked_ms: dict[str, int] = field(default_factory=dict)
    called_ms: int | None = None
    denied: dict[str, str] = field(default_factory=dict)
    swept: bool = False
    forced: str = ""
    rewrite: bool = False
    told: Told = field(default_factory=Told)

    def force(self, asked: str) -> None:
        """A new value of annotation force-reconcile: what was written last is not relied on any more."""
        if asked == self.forced:
            return
        self.forced, self.record, self.swept, self.rewrite = asked, None, False, True
        self.acks.hashes.clear()
        self.acks.tries.clear()
