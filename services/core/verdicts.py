"""What a stage of the pipeline may say: nothing (go on), a refusal, an answer, or that it parked the exchange.

A refusal is a value, never an exception: on the hot path a 429 must cost less than what it protects. `slug` names a problem type of
`core/problems.py`, which knows status, texts and Proxy-Status token; the app turns it into bytes in one place (`http1/problems.py`,
`api/errors.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Fact = str | int | float | bool | tuple[str, ...]
NO_FACTS: Final[Mapping[str, Fact]] = {}


class Facts(dict[str, Fact]):
    """Facts that many refusals share: their JSON is made once, and kept here by who makes it (http1/problems.py)."""

    __slots__ = ("json",)

    def __init__(self, facts: Mapping[str, Fact]) -> None:
        super().__init__(facts)
        self.json = b""


@dataclass(frozen=True, slots=True)
class Refusal:
    r"""A request is turned away: problem type, metric reason, and what the client is told beyond the type's own texts.

    `retry_after_s` is whole seconds for Retry-After (None: no header). `facts` are further members of the problem document.
    `headers` are complete response lines (`b"Allow: GET, HEAD\r\n"`).
    """

    slug: str
    reason: str
    detail: str = ""
    retry_after_s: int | None = None
    facts: Mapping[str, Fact] = field(default_factory=lambda: NO_FACTS)
    headers: tuple[bytes, ...] = ()
    close: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """This process answers the request itself: status, complete header lines without framing fields, body."""

    status: int
    headers: tuple[bytes, ...] = ()
    body: bytes = b""


class Parked:
    """The type of PARKED: the stage has handed the exchange to a callback that will resume it."""

    __slots__ = ()


PARKED: Final = Parked()
Outcome = None | Refusal | Answer | Parked
