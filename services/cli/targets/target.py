"""What the commands ask of wherever the ScalableApi lives. The answers are the same pydantic models from both homes.

Implementations: local.py (the running instance's files), cluster.py (`kubectl`). choice.py picks one. Callers: the
commands. Each question may raise CliError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ValidationError

from services.cli.errors import NOT_FOUND, UNREACHABLE, USAGE, CliError
from services.cli.output import clean
from services.schema.scalable_api import ScalableApi, ScalableApiSpec
from services.schema.status import LastDecision, StoredObject, TierHistory
from services.schema.tiers import TiersDocument

Before = Sequence[tuple[TierHistory, TiersDocument]]
Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Happened:
    """One Event; `last_at` is RFC 3339."""

    last_at: str
    type: str
    reason: str
    count: int
    message: str


@dataclass(frozen=True, slots=True)
class Door:
    """How the admin API is reached: through a gateway, with a log-in link that an api's control port gives."""

    url: str
    controls: Sequence[str]
    token: str = field(repr=False)


class Target(Protocol):
    """Questions and orders in words."""

    def place(self, found: StoredObject) -> str:
        """Where the object is, for the head of a screen."""
        ...

    def about(self, found: StoredObject) -> dict[str, str]:
        """The same for programs: members of the JSON answers."""
        ...

    def objects(self) -> list[StoredObject]:
        """All that are there, by name."""
        ...

    def object(self, name: str) -> StoredObject:
        """One by its name; exit 3 without it."""
        ...

    def watch(self, name: str | None, within_s: float | None = None) -> Iterator[StoredObject]:
        """Now and with each change, of one or of all; ends when the time is up or the instance has ended."""
        ...

    def in_force(self, wanted: ScalableApi) -> ScalableApiSpec | None:
        """The spec that `wanted` would replace; None when there is none that can be read."""
        ...

    def would(self, wanted: ScalableApi, raw: bytes) -> ScalableApiSpec:
        """What would be in force after `write`; raises what the place says against it. Nothing is changed."""
        ...

    def write(self, wanted: ScalableApi, raw: bytes, source: str) -> None:
        """Puts the manifest in place."""
        ...

    def taken(self, wanted: ScalableApi, found: StoredObject) -> bool:
        """Whether `found` already has the spec that was written."""
        ...

    def edit(self, found: StoredObject, change: Change) -> None:
        """Has `change` alter spec and annotations as they were written, and puts them back; refused if somebody else did meanwhile."""
        ...

    def tiers_before(self, found: StoredObject) -> Before:
        """The documents before the one in force, newest first."""
        ...

    def events(self, name: str) -> list[Happened]:
        """What happened to the object, oldest first."""
        ...

    def door(self, found: StoredObject) -> AbstractContextManager[Door]:
        """Of the object's platform; open until the block ends."""
        ...

    def live_decisions(self, found: StoredObject) -> dict[str, LastDecision]:
        """The controller's decisions of this second, by component."""
        ...


def the_one(target: Target, name: str | None) -> StoredObject:
    """The object named, or the only one; several without a name are wrong usage, with their names."""
    if name is not None:
        return target.object(name)
    found = target.objects()
    if not found:
        raise CliError(
            "",
            "no ScalableApi here",
            "there is none in this namespace",
            "apply -f FILE, or name another namespace: -n",
            NOT_FOUND,
        )
    if len(found) > 1:
        names = clean(", ".join(o.metadata.name for o in found))
        raise CliError("", "which ScalableApi?", f"there are {names}", "give its name", USAGE)
    return found[0]


def parsed(body: Any, written_by: str) -> StoredObject:
    """The object as our models know it; one sentence when another version wrote something else."""
    try:
        return StoredObject.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}; written by {written_by}"
        raise CliError("", "the status cannot be read", clean(why), exit_code=UNREACHABLE) from None
