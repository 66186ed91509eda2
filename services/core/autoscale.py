"""How many replicas a component should have: one decision, its record, and the record computed again (operator.md §5).

`decide` is a pure function of the clock, the counts, the metrics' windows, the rules and a small memory, which it
returns anew. It fills a `Record` that holds everything the steps looked at; `replay` runs the same steps on the record
alone, so an explanation can be checked years later. Loads are integers in thousandths, rounded to three significant
digits before anything is compared: that is what makes the record exact.

Two things it never does: lower because data is missing, and forget in a panic what it once needed. The shape (stable
and panic window, ceil of load over target) follows Knative's autoscaler, stabilization and policies follow the
Kubernetes HPA; latch, settling and starts are ours.

Caller: controller.decide, once a second and component. The file is long because the steps are read as one argument.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

Mode = Literal["Auto", "Recommend", "Manual"]
Direction = Literal["Up", "Down", "None"]

MAX_REPLICAS: Final = 1000
"""The API's bound on maxReplicas: as a limit it means "no limit"."""
RECENT_MS: Final = 2000
FIRST_START_MS: Final = 10_000
"""Start-to-ready time before one was seen."""
START_WEIGHT: Final = 0.3
FRESH_TICKS_TO_RECOVER: Final = 3
DAY_MS: Final = 86_400_000
NEVER: Final = -(2**62)
"""The second of a slot that was never filled: older than any span reaches."""


# ---------------------------------------------------------------------------------------------------- what is asked


@dataclass(frozen=True, slots=True)
class Policy:
    """At most `value` percent or pods of change within `period_ms`."""

    kind: Literal["Percent", "Pods"]
    value: int
    period_ms: int


@dataclass(frozen=True, slots=True)
class Side:
    """How one direction behaves."""

    tolerance: int
    stabilization_ms: int
    select: Literal["Max", "Min", "Disabled"]
    policies: tuple[Policy, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """`kind` sum: loads add up over replicas; ratio: they don't (latencies)."""

    name: str
    kind: Literal["sum", "ratio"]
    target: int


UP_POLICIES: Final = (Policy("Percent", 400, 15_000), Policy("Pods", 8, 15_000))
DOWN_POLICIES: Final = (Policy("Percent", 50, 15_000),)


@dataclass(frozen=True, slots=True)
class Rules:
    """The spec of one component, in milliseconds and thousandths. `manual_replicas` None = hold.

    `scheduled`: which of "floor", "cap" (or "floor,cap") come from the schedule. `budget_cap` None = nothing is cut.
    """

    metrics: tuple[Metric, ...]
    minimum: int = 1
    maximum: int = 10
    mode: Mode = "Auto"
    manual_replicas: int | None = None
    paused_up: bool = False
    paused_down: bool = False
    stable_ms: int = 60_000
    panic_ms: int = 6000
    panic_percent: int = 200
    up: Side = Side(5, 0, "Max", UP_POLICIES)
    down: Side = Side(10, 300_000, "Max", DOWN_POLICIES)
    fallback_after_ms: int = 30_000
    fallback_replicas: int | None = None
    scheduled: str = ""
    budget_cap: int | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """What runs: ready, starting, pending, draining; `replicas` is what the workload was last told to have.

    `start_times_ms`: how long pods that became ready since the last tick took. `stuck`: a pod is unschedulable or has
    been starting for over 60 s.
    """

    ready: int
    starting: int = 0
    pending: int = 0
    draining: int = 0
    replicas: int = 0
    stuck: bool = False
    rollout: bool = False
    conflicted: bool = False
    start_times_ms: tuple[int, ...] = ()

    @property
    def running(self) -> int:
        """K of the formulas."""
        return self.ready + self.starting

    @property
    def committed(self) -> int:
        """What "current" means in every comparison."""
        return max(0, self.replicas - self.draining)


class Ring:
    """One-second values of a metric, as (low, high) in thousandths; a second without a value leaves a hole."""

    def __init__(self, span_ms: int) -> None:
        self._size = max(1, span_ms // 1000)
        self._seconds, self._lows, self._highs = (array("q", [start]) * self._size for start in (NEVER, 0, 0))

    def push(self, now_ms: int, low: int, high: int) -> None:
        slot = (now_ms // 1000) % self._size
        self._seconds[slot], self._lows[slot], self._highs[slot] = now_ms // 1000, _held(low), _held(high)

    def mean(self, now_ms: int, span_ms: int) -> tuple[int, int] | None:
        """Means of what there is in the last `span_ms`, rounded to three digits; None when there is nothing."""
        oldest, newest = now_ms // 1000 - max(1, span_ms // 1000), now_ms // 1000
        kept = zip(self._seconds, self._lows, self._highs, strict=True)
        found = [(low, high) for second, low, high in kept if oldest < second <= newest]
        if not found:
            return None
        return tuple(three_digits(sum(part), len(found)) for part in zip(*found, strict=True))  # type: ignore[return-value]  # two parts


def _held(value: int) -> int:
    """What 64 bits hold, whatever a query's answer was."""
    return max(NEVER, min(value, -NEVER))


def three_digits(total: int, count: int) -> int:
    """`total / count` to three significant digits, half up."""
    whole = (2 * total + count) // (2 * count)
    unit: int = 10 ** max(0, len(str(whole)) - 3)
    return (2 * total + count * unit) // (2 * count * unit) * unit


@dataclass(frozen=True, slots=True)
class Window:
    """One metric at the moment of the decision. `ring` None or `missing`: it says nothing now."""

    ring: Ring | None
    fresh: int = 0
    ready: int = 0
    missing: bool = False


# ---------------------------------------------------------------------------------------------- what is remembered


@dataclass(frozen=True, slots=True)
class Memory:
    """What one tick leaves to the next. `results`: (last seen, value) of step 3, equal neighbours merged."""

    since_ms: int
    results: tuple[tuple[int, int], ...] = ()
    changes: tuple[tuple[int, int], ...] = ()
    panic_until_ms: int = 0
    panic_floor: int = 0
    latch: int = 0
    latch_until_ms: int = 0
    missing_since_ms: int | None = None
    fresh_ticks: int = 0
    fallback: bool = False
    start_ms: int = FIRST_START_MS
    raised_ms: int = -DAY_MS


def changed(memory: Memory, now_ms: int, delta: int) -> Memory:
    """The caller carried out a change of `delta` replicas: policies count it. Kept for the longest period, 30 min."""
    kept = tuple((at, step) for at, step in memory.changes if now_ms - at < 1_800_000)
    raised = now_ms if delta > 0 else memory.raised_ms
    return replace(memory, changes=(*kept, (now_ms, delta)), raised_ms=raised)


# ------------------------------------------------------------------------------------------------------ the record


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """A metric's windows in thousandths; `high` = stable with what is missing at the target."""

    name: str
    kind: Literal["sum", "ratio"]
    stable: int
    high: int
    panic: int
    recent: int
    target: int
    fresh: int
    ready: int
    missing: bool
    proposal: int = 0


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that the steps read beside the metrics. Limits are after `select`; `held_up` None = nothing held."""

    mode: Mode
    paused: str
    ready: int
    starting: int
    pending: int
    draining: int
    minimum: int
    maximum: int
    tolerance_down: int
    tolerance_up: int
    up_limit: int
    down_limit: int
    held_up: int | None
    held_down: int
    latch: int
    panic_floor: int
    in_panic: bool
    settling: bool
    stuck: bool
    rollout: bool
    conflicted: bool
    ratio_held: bool
    fallback_replicas: int | None
    manual_replicas: int | None
    scheduled: str
    budget_cap: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that changed the number."""

    rule: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Record:
    """A decision with its reasons. `committed` → `final`; `recommended` is what Auto would do."""

    at_ms: int
    committed: int
    inputs: Inputs
    metrics: tuple[MetricRecord, ...]
    raw: int = 0
    recommended: int = 0
    final: int = 0
    direction: Direction = "None"
    reason: str = ""
    not_before_ms: int | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The record and what to remember."""

    record: Record
    memory: Memory
    fallback_started: bool = False
    fallback_ended: bool = False

    @property
    def final(self) -> int:
        return self.record.final


# ---------------------------------------------------------------------------------------------------- the decision


def decide(now_ms: int, counts: Counts, windows: Mapping[str, Window], rules: Rules, memory: Memory) -> Decision:
    """What the component should have now. `windows` is by metric name; `memory` starts as `Memory(now_ms)`."""
    before = memory
    metrics = tuple(_look(now_ms, metric, windows.get(metric.name), rules) for metric in rules.metrics)
    memory = _learn(memory, counts)
    memory = _notice_missing(now_ms, metrics, rules, memory)
    memory = _notice_panic(now_ms, metrics, counts, rules, memory)
    record = _run(Record(now_ms, counts.committed, _inputs(now_ms, counts, rules, memory), metrics))
    settled = _after(record, 3)
    memory = replace(
        _remember(now_ms, settled, rules, memory),
        panic_floor=max(memory.panic_floor, record.raw) if record.inputs.in_panic else 0,
    )
    memory = _latched(now_ms, record, rules, memory)
    record = replace(record, not_before_ms=_not_before(now_ms, record, rules, memory))
    return Decision(
        record,
        memory,
        fallback_started=memory.fallback and not before.fallback,
        fallback_ended=before.fallback and not memory.fallback,
    )


def replay(record: Record) -> Record:
    """The same steps on the record alone; a `final` that differs from the record's is a bug in one of them."""
    return replace(_run(replace(record, steps=())), not_before_ms=record.not_before_ms)


def _look(now_ms: int, metric: Metric, window: Window | None, rules: Rules) -> MetricRecord:
    window = window or Window(None)
    stable = window.ring.mean(now_ms, rules.stable_ms) if window.ring else None
    panic = window.ring.mean(now_ms, rules.panic_ms) if window.ring else None
    recent = window.ring.mean(now_ms, RECENT_MS) if window.ring else None
    missing = window.missing or stable is None or panic is None or recent is None
    return MetricRecord(
        metric.name,
        metric.kind,
        *(stable or (0, 0)),
        (panic or (0, 0))[0],
        (recent or (0, 0))[0],
        metric.target,
        window.fresh,
        window.ready,
        missing,
    )


def _learn(memory: Memory, counts: Counts) -> Memory:
    start_ms = memory.start_ms
    for took_ms in counts.start_times_ms:
        start_ms = round((1 - START_WEIGHT) * start_ms + START_WEIGHT * took_ms)
    return replace(memory, start_ms=start_ms)


def _notice_missing(now_ms: int, metrics: Sequence[MetricRecord], rules: Rules, memory: Memory) -> Memory:
    if metrics and all(metric.missing for metric in metrics):
        since = now_ms if memory.missing_since_ms is None else memory.missing_since_ms
        fallback = memory.fallback or now_ms - since >= rules.fallback_after_ms
        return replace(memory, missing_since_ms=since, fresh_ticks=0, fallback=fallback)
    ticks = min(FRESH_TICKS_TO_RECOVER, memory.fresh_ticks + 1)
    fallback = memory.fallback and ticks < FRESH_TICKS_TO_RECOVER
    return replace(memory, missing_since_ms=None, fresh_ticks=ticks, fallback=fallback)


def _notice_panic(now_ms: int, metrics: Sequence[MetricRecord], counts: Counts, rules: Rules, memory: Memory) -> Memory:
    threshold = rules.panic_percent * max(1, counts.running)
    for metric in metrics:
        if metric.kind == "sum" and not metric.missing and need(metric.panic, metric.target) * 100 >= threshold:
            return replace(memory, panic_until_ms=now_ms + rules.stable_ms)
    return memory


def _inputs(now_ms: int, counts: Counts, rules: Rules, memory: Memory) -> Inputs:
    committed = counts.committed
    held_down = [value for at, value in memory.results if now_ms - at < rules.down.stabilization_ms]
    held_up = [value for at, value in memory.results if now_ms - at < rules.up.stabilization_ms]
    in_panic = now_ms < memory.panic_until_ms
    fallback = max(committed, rules.fallback_replicas or 0) if memory.fallback else None
    return Inputs(
        mode=rules.mode,
        paused=",".join(n for n, on in (("up", rules.paused_up), ("down", rules.paused_down)) if on),
        ready=counts.ready,
        starting=counts.starting,
        pending=counts.pending,
        draining=counts.draining,
        minimum=rules.minimum,
        maximum=max(rules.minimum, rules.maximum),
        tolerance_down=rules.down.tolerance,
        tolerance_up=rules.up.tolerance,
        up_limit=up_limit(now_ms, committed, rules.up, memory.changes),
        down_limit=down_limit(now_ms, committed, rules.down, memory.changes),
        held_up=min(held_up, default=None),
        held_down=max(held_down, default=0),
        latch=memory.latch if now_ms < memory.latch_until_ms else 0,
        panic_floor=memory.panic_floor if in_panic else 0,
        in_panic=in_panic,
        settling=now_ms < settled_at(rules, memory),
        stuck=counts.stuck,
        rollout=counts.rollout,
        conflicted=counts.conflicted,
        ratio_held=counts.starting > 0 and now_ms - memory.raised_ms < 2 * memory.start_ms,
        fallback_replicas=fallback,
        manual_replicas=rules.manual_replicas if rules.mode == "Manual" else None,
        scheduled=rules.scheduled,
        budget_cap=rules.budget_cap,
    )


def settled_at(rules: Rules, memory: Memory) -> int:
    """Until then nothing is lowered: the watch was too short to know what was needed before it began."""
    return memory.since_ms + max(rules.stable_ms, rules.down.stabilization_ms)


def _remember(now_ms: int, value: int, rules: Rules, memory: Memory) -> Memory:
    span = max(rules.up.stabilization_ms, rules.down.stabilization_ms)
    kept = tuple((at, v) for at, v in memory.results if now_ms - at < span)
    if kept and kept[-1][1] == value:
        kept = kept[:-1]
    return replace(memory, results=(*kept, (now_ms, value)))


def _latched(now_ms: int, record: Record, rules: Rules, memory: Memory) -> Memory:
    """A decrease stands for the shortest down period: carried out in batches, not lowered further."""
    if record.final >= record.committed or now_ms < memory.latch_until_ms:
        return memory
    period = min((policy.period_ms for policy in rules.down.policies), default=0)
    return replace(memory, latch=record.final, latch_until_ms=now_ms + period)


def _not_before(now_ms: int, record: Record, rules: Rules, memory: Memory) -> int | None:
    """The earliest time of a next decrease, None when one is under way or nothing holds it."""
    if record.final < record.committed:
        return None
    high = [at + rules.down.stabilization_ms for at, value in memory.results if value >= record.final]
    earliest = max([*high, settled_at(rules, memory), memory.latch_until_ms])
    return earliest if earliest > now_ms else None


# --------------------------------------------------------------------------------------------------------- formulas


def need(load: int, target: int) -> int:
    """Replicas that carry `load` at `target` each."""
    return -(-load // target)


def up_limit(now_ms: int, committed: int, side: Side, changes: Sequence[tuple[int, int]]) -> int:
    """The most that policies allow now; `committed` when Disabled, MAX_REPLICAS when there are none."""
    if side.select == "Disabled":
        return committed
    limits = []
    for policy in side.policies:
        base = _base(now_ms, committed, policy, changes)
        limits.append(-(-base * (100 + policy.value) // 100) if policy.kind == "Percent" else base + policy.value)
    if not limits:
        return MAX_REPLICAS
    return max(limits) if side.select == "Max" else min(limits)


def down_limit(now_ms: int, committed: int, side: Side, changes: Sequence[tuple[int, int]]) -> int:
    """The least that policies allow now; one replica may always go within a period."""
    if side.select == "Disabled":
        return committed
    limits = []
    for policy in side.policies:
        base = _base(now_ms, committed, policy, changes)
        left = -(-base * (100 - policy.value) // 100) if policy.kind == "Percent" else base - policy.value
        limits.append(max(0, min(left, base - 1)))
    if not limits:
        return 0
    return min(limits) if side.select == "Max" else max(limits)


def _base(now_ms: int, committed: int, policy: Policy, changes: Sequence[tuple[int, int]]) -> int:
    return committed - sum(step for at, step in changes if now_ms - at < policy.period_ms)


def propose(metric: MetricRecord, committed: int, inputs: Inputs) -> int:
    """What one metric asks for."""
    if metric.missing:
        return committed
    if metric.kind == "ratio":
        return _propose_ratio(metric, committed, inputs)
    if inputs.in_panic:
        return max(committed, *(need(load, metric.target) for load in (metric.stable, metric.panic, metric.recent)))
    if metric.stable * 100 > committed * metric.target * (100 + inputs.tolerance_up):
        return need(metric.stable, metric.target)
    if metric.high * 100 < committed * metric.target * (100 - inputs.tolerance_down):
        return need(metric.high, metric.target)
    return committed


def _propose_ratio(metric: MetricRecord, committed: int, inputs: Inputs) -> int:
    running = inputs.ready + inputs.starting
    asked = need(running * min(max(metric.stable, metric.target // 2), 2 * metric.target), metric.target)
    if metric.stable * 100 > metric.target * (100 + inputs.tolerance_up):
        return committed if inputs.ratio_held else max(committed, asked)
    if metric.stable * 100 < metric.target * (100 - inputs.tolerance_down):
        return min(committed, asked)
    return committed


# ------------------------------------------------------------------------------------------------------- the steps


def _metrics(_: int, record: Record) -> int:
    proposals = [metric.proposal for metric in record.metrics]
    return max([*proposals, record.inputs.panic_floor]) if proposals else record.committed


def _fallback(value: int, record: Record) -> int:
    return value if record.inputs.fallback_replicas is None else record.inputs.fallback_replicas


def _settling(value: int, record: Record) -> int:
    return max(value, record.committed) if record.inputs.settling else value


def _stabilization(value: int, record: Record) -> int:
    if value < record.committed:
        return min(record.committed, max(value, record.inputs.held_down))
    held = value if record.inputs.held_up is None else min(value, record.inputs.held_up)
    return max(record.committed, held)


def _policies(value: int, record: Record) -> int:
    inputs, committed = record.inputs, record.committed
    if value > committed:
        return min(value, max(inputs.up_limit, committed))
    return max(value, min(committed, max(inputs.latch, inputs.down_limit)))


def _starts(value: int, record: Record) -> int:
    return min(value, record.committed) if record.inputs.stuck else value


def _rollout(value: int, record: Record) -> int:
    return max(value, record.committed) if record.inputs.rollout else value


def _bounds(value: int, record: Record) -> int:
    inputs = record.inputs
    cap = max(inputs.maximum, record.committed) if inputs.settling or inputs.rollout else inputs.maximum
    return min(max(value, inputs.minimum), cap)


def _budget(value: int, record: Record) -> int:
    inputs = record.inputs
    if inputs.budget_cap is None:
        return value
    return min(value, max(inputs.budget_cap, record.committed, inputs.minimum))


def _pause(value: int, record: Record) -> int:
    if "up" in record.inputs.paused:
        value = min(value, record.committed)
    if "down" in record.inputs.paused:
        value = max(value, record.committed)
    return value


def _mode(value: int, record: Record) -> int:
    inputs = record.inputs
    if inputs.conflicted or inputs.mode == "Recommend":
        return record.committed
    if inputs.mode == "Manual":
        wanted = record.committed if inputs.manual_replicas is None else inputs.manual_replicas
        return _pause(wanted, record)  # a pause beats everything
    return value


STEPS: Final = (
    ("Metrics", _metrics),
    ("Fallback", _fallback),
    ("Settling", _settling),
    ("Stabilization", _stabilization),
    ("Policies", _policies),
    ("Starts", _starts),
    ("Rollout", _rollout),
    ("Bounds", _bounds),
    ("Budget", _budget),
    ("Pause", _pause),
    ("Mode", _mode),
)
"""In the order of operator.md §5.5."""


def _run(record: Record) -> Record:
    proposals = tuple(replace(m, proposal=propose(m, record.committed, record.inputs)) for m in record.metrics)
    record = replace(record, metrics=proposals)
    value, steps, after = record.committed, [], {}
    for rule, step in STEPS:
        before, value = value, step(value, record)
        after[rule] = value
        if value != before:
            steps.append(Step(rule, before, value))
    direction: Direction = "Up" if value > record.committed else "Down" if value < record.committed else "None"
    record = replace(record, raw=after["Metrics"], recommended=after["Pause"], final=value, steps=tuple(steps))
    return replace(record, direction=direction, reason=_reason(record))


def _after(record: Record, count: int) -> int:
    """The number after the first `count` steps."""
    first = {rule for rule, _ in STEPS[:count]}
    return next((step.after for step in reversed(record.steps) if step.rule in first), record.committed)


_REASONS: Final = {
    "Fallback": "Fallback",
    "Settling": "Settling",
    "Stabilization": "Stabilized",
    "Policies": "PolicyLimited",
    "Starts": "StartsPending",
    "Rollout": "RolloutInProgress",
    "Budget": "BudgetCapped",
    "Pause": "Paused",
}


def _reason(record: Record) -> str:
    inputs = record.inputs
    if inputs.conflicted:
        return "Conflicted"
    if inputs.mode != "Auto":
        return "Recommending" if inputs.mode == "Recommend" else "Manual"
    last = record.steps[-1].rule if record.steps else ""
    if last == "Bounds":
        return _bounds_reason(inputs.scheduled, down=record.steps[-1].after < record.steps[-1].before)
    if last in _REASONS:
        return _REASONS[last]
    if inputs.fallback_replicas is not None:
        return "Fallback"
    if any(metric.missing for metric in record.metrics) and record.final == record.committed:
        return "MetricsMissing"
    if inputs.in_panic:
        return "Panic"
    if record.final == record.committed:
        return "WithinTolerance"
    return "LoadAboveTarget" if record.final > record.committed else "LoadBelowTarget"


def _bounds_reason(scheduled: str, *, down: bool) -> str:
    if down:
        return "ScheduleCap" if "cap" in scheduled else "AtMaximum"
    return "ScheduleFloor" if "floor" in scheduled else "AtMinimum"
