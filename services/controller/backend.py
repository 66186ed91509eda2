"""What the controller asks of its home: Kubernetes there, files and child processes here (operator.md §0).

Arguments and answers are frozen values; a store's refusal is an answer (`Outcome`), never an exception. `seen` is the
version a decision was based on: a mismatch answers `Conflict`, and the next tick decides anew. Polling, pushing and
draining are not here: `pods.py` speaks the control port to `control_url` in both homes. `fake.py` is the in-memory one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from services.core.budget import Line
from services.schema.scalable_api import ScalableApiSpec
from services.schema.status import Phase, Status, TierHistory
from services.schema.tiers import TiersDocument

Key = str
"""An object's uid."""


@dataclass(frozen=True, slots=True)
class Api:
    """A `ScalableApi`. `spec` is the last accepted one, None if there never was one; `errors` are the newest text's.

    `conflict`: another object has our workload and came first; nothing is done then. `outdated`: why what is installed
    (the CRD) is too old for this controller. `lost`: component → why its workload is not there. `no_token`: why the
    control token cannot be had.
    """

    key: Key
    name: str
    generation: int
    created_at: str
    spec: ScalableApiSpec | None
    errors: tuple[str, ...] = ()
    conflict: str = ""
    outdated: str = ""
    namespace: str = ""
    lost: Mapping[str, str] = field(default_factory=dict)
    no_token: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pod:
    """One replica. `starting`: never ready yet. `reason`: why it is not running, for people."""

    uid: str
    name: str
    phase: Literal["Pending", "Running", "Failed"]
    ready: bool = False
    starting: bool = False
    deleting: bool = False
    started_at_ms: int = 0
    control_url: str = ""
    node: str = ""
    restarts: int = 0
    reason: str = ""
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """What a component was last told to have; `updated` False while its own rollout runs; `rivals` also scale it.

    `writer`: who else wrote `replicas`, where the home knows.
    """

    replicas: int
    seen: str
    target: str
    updated: bool = True
    rivals: tuple[str, ...] = ()
    writer: str = ""
    pods: tuple[Pod, ...] = ()


Fleet = Mapping[str, Workload]
"""By component; one that is not there has no workload."""


@dataclass(frozen=True, slots=True)
class Record:
    """The durable state: the rotation's, and the budget's line. `active` None: nothing was ever rolled out.

    `candidate`: what the gateways of uids `canaries` enforce in phase Canary. `untested`: the active document came
    out of a canary without traffic. `retry`: the last value of annotation retry-rotation. `history`: newest first.
    """

    active: TiersDocument | None = None
    phase: Phase = "Active"
    since_ms: int = 0
    failed_hash: str = ""
    history: tuple[tuple[TierHistory, TiersDocument], ...] = ()
    seen: str = ""
    candidate: TiersDocument | None = None
    canaries: tuple[str, ...] = ()
    untested: bool = False
    retry: str = ""
    budget: Line | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for people: `subject` narrows the deduplication ('api', a circuit's key)."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """Written. `seen`: the record's version from now on."""

    seen: str = ""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """It was so already."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody wrote in between."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """The store is busy."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Gone:
    """The object does not exist any more."""


@dataclass(frozen=True, slots=True)
class Denied:
    """Not ours to do; the message names the verb."""

    message: str


Outcome = Done | Unchanged | Conflict | RetryAfter | Gone | Denied


class Backend(Protocol):
    """One home of the controller."""

    def may_write(self) -> bool:
        """Are we the one who acts?"""
        ...

    @property
    def epoch(self) -> int:
        """Grows with each leader; a pod refuses a lower one than it has seen."""
        ...

    async def changed(self, timeout_s: float) -> set[Key]:
        """Wait for a change of an object or its pods; the empty set after `timeout_s`."""
        ...

    def apis(self) -> Mapping[Key, Api]:
        """All objects."""
        ...

    def fleet(self, api: Api) -> Fleet:
        """What runs for it."""
        ...

    async def token(self, api: Api, *, refresh: bool) -> str:
        """The bearer token of its pods' control ports; '' when it cannot be read."""
        ...

    async def read_record(self, api: Api) -> Record | None:
        """The rotation's durable state; None when there is none."""
        ...

    async def write_record(self, api: Api, record: Record, seen: str) -> Outcome:
        """Store it before anything is pushed: new pods start with it."""
        ...

    async def mark_victims(self, api: Api, component: str, pods: frozenset[str]) -> Outcome:
        """These uids go first at the next decrease; empty clears."""
        ...

    async def scale(self, api: Api, component: str, replicas: int, seen: str) -> Outcome:
        """Have that many."""
        ...

    async def publish(self, api: Api, status: Status, seen: str) -> Outcome:
        """Replace the status."""
        ...

    async def emit(self, api: Api, event: Event) -> None:
        """Tell people; already deduplicated."""
        ...
