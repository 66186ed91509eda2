"""Every process's breakers as one list (operator.md §7): worst state, how many processes share it, since when, why.

A key is (component, name): `balancer: api-2`, `gateway: redis`. Pods without a fresh snapshot drop out. A key stays
for ten seconds after it closed, so that a flapping breaker is one line, not forty. Caller: controller.status.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["Open", "HalfOpen", "Closed"]
Key = tuple[str, str]

MAX_ITEMS: Final = 32
FLAP_MS: Final = 10_000
KEEP_BLIND_MS: Final = 60_000
"""Items outlive the last fresh snapshot this long; then they would be rumours."""
_RANK: Final[Mapping[State, int]] = {"Open": 0, "HalfOpen": 1, "Closed": 2}


@dataclass(frozen=True, slots=True)
class Breaker:
    """One process's breaker. Times are RFC 3339 UTC: they sort as text."""

    name: str
    state: State
    since: str = ""
    reason: str = ""
    forced: bool = False
    retry_at: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What one pod of `component` says."""

    component: str
    fresh: bool
    breakers: tuple[Breaker, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One breaker over all the processes that know it."""

    component: str
    name: str
    state: State
    not_closed: int
    known_by: int
    since: str = ""
    reason: str = ""
    retry_at: str | None = None

    @property
    def key(self) -> Key:
        return (self.component, self.name)


@dataclass(frozen=True, slots=True)
class Memory:
    """Keys not closed, or closed less than ten seconds ago, with the time they were last not closed."""

    items: tuple[tuple[int, Item], ...] = ()
    seen_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The status' numbers. `blind`: no pod has a fresh snapshot. `opened`, `closed`: episodes that began, ended."""

    open: int
    half_open: int
    total: int
    observed: int
    pods: int
    items: tuple[Item, ...]
    blind: bool
    opened: tuple[Item, ...]
    closed: tuple[Item, ...]
    memory: Memory


def aggregate(now_ms: int, reports: Iterable[Report], memory: Memory) -> Aggregate:
    """One tick's view; the order of the reports does not matter."""
    reports = tuple(reports)
    fresh = [report for report in reports if report.fresh]
    if not fresh:
        return _blind(now_ms, len(reports), memory)
    items = {item.key: item for item in map(_merge, _by_key(fresh).items())}
    before = {item.key: (at, item) for at, item in memory.items}
    troubled = {key: (now_ms, item) for key, item in items.items() if item.state != "Closed"}
    fading = {
        key: (at, items.get(key, _closed(item)))
        for key, (at, item) in before.items()
        if key not in troubled and now_ms - at < FLAP_MS
    }
    kept = troubled | fading
    return Aggregate(
        open=sum(item.state == "Open" for item in items.values()),
        half_open=sum(item.state == "HalfOpen" for item in items.values()),
        total=len(items),
        observed=len(fresh),
        pods=len(reports),
        items=_listed(item for _, item in kept.values()),
        blind=False,
        opened=_listed((item for key, (_, item) in troubled.items() if key not in before), most=None),
        closed=_listed((_closed(item) for key, (_, item) in before.items() if key not in kept), most=None),
        memory=Memory(tuple(sorted(kept.values(), key=lambda pair: pair[1].key)), now_ms),
    )


def _blind(now_ms: int, pods: int, memory: Memory) -> Aggregate:
    kept = memory if memory.seen_ms is not None and now_ms - memory.seen_ms < KEEP_BLIND_MS else Memory()
    items = [item for _, item in kept.items]
    opened, half = (sum(item.state == state for item in items) for state in ("Open", "HalfOpen"))
    return Aggregate(opened, half, len(items), 0, pods, _listed(items), True, (), (), kept)  # noqa: FBT003  # blind


def _by_key(reports: Iterable[Report]) -> dict[Key, list[Breaker]]:
    found: dict[Key, list[Breaker]] = {}
    for report in reports:
        for breaker in report.breakers:
            found.setdefault((report.component, breaker.name), []).append(breaker)
    return found


def _merge(entry: tuple[Key, list[Breaker]]) -> Item:
    (component, name), breakers = entry
    state = min((breaker.state for breaker in breakers), key=_RANK.__getitem__)
    worst = [breaker for breaker in breakers if breaker.state == state]
    oldest = min(worst, key=lambda breaker: (breaker.since, breaker.reason))
    retries = [breaker.retry_at for breaker in worst if breaker.retry_at]
    return Item(
        component,
        name,
        state,
        not_closed=sum(breaker.state != "Closed" for breaker in breakers),
        known_by=len(breakers),
        since=oldest.since,
        reason="Forced" if any(breaker.forced for breaker in worst) else oldest.reason,
        retry_at=min(retries, default=None),
    )


def _closed(item: Item) -> Item:
    return Item(item.component, item.name, "Closed", 0, item.known_by, item.since)


def _listed(items: Iterable[Item], most: int | None = MAX_ITEMS) -> tuple[Item, ...]:
    ranked = sorted(items, key=lambda i: (_RANK[i.state], -i.not_closed, i.since, i.component, i.name))
    return tuple(ranked[:most])
