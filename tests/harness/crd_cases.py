"""Manifests that are accepted or refused, wherever they are given to (operator.md §1, §12): one table for the models and for API servers.

The figures are written down from the design page, not read from the models. The unit tests run the table against the pydantic models and
against the generated schema, tests/cluster against real API servers (server dry run, field validation Strict).

A refused row names its `field` as all of them do (`spec.components[2].minReplicas`). `said` is in the models' sentence; where `rule` is
set, the same words are in the API server's message, because both come from one declaration.

Long, because it is a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

Manifest = dict[str, Any]
SAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "samples"


@dataclass(frozen=True)
class Case:
    """`by`: who can tell: both, only the models (no CEL can see it), only the API server (it takes the object before). `before` is applied first."""

    name: str
    manifest: Manifest
    field: str = ""
    said: str = ""
    rule: str = ""
    by: Literal["both", "model", "server"] = "both"
    before: Manifest | None = None

    @property
    def accepted(self) -> bool:
        return not self.field


POLICY = {"name": "spare", "quota": 100, "window": 60, "mode": "off"}
ROOMY: Manifest = yaml.safe_load("""
apiVersion: scalableapi.io/v1
kind: ScalableApi
metadata: {name: shop}
spec:
  control: {tokenSecretRef: {}}
  components:
  - {name: gateway, targetRef: {name: shop-gateway}}
  - {name: balancer}
  - name: api
    maxReplicas: 1000
    metrics: [{name: orders, type: Prometheus, target: 1, prometheus: {query: "sum(x)"}}]
    behavior:
      stableWindow: 1h
      panic: {window: 2s}
      scaleUp: {policies: [{type: Pods, value: 1, period: 1s}]}
    fallback: {}
    schedule: [{name: office, cron: "0 8 * * 1-5", duration: 10h, min: 1}]
  - {name: worker}
  tiers:
    definitions:
    - {name: anonymous, criticality: sheddable, policies: [{name: anonymous, quota: 10000, window: 60}]}
    - name: free
      criticality: critical
      policies: [{name: free, quota: 10000, window: 60}, {name: spare, quota: 100, window: 60, mode: "off"}]
    - {name: third, criticality: critical, policies: [{name: third, quota: 10000, window: 60}]}
    routes: [{match: "GET /x"}]
    credentialFailures: {name: credential-ip, quota: 30, window: 60}
    rotation: {canary: {abortIf: {}}}
  circuitBreaker: {openSeconds: 1, maxOpenSeconds: 3600}
  budget: {maxReplicaHours: 500, weights: {}}
""")
"""Valid, and every object a bound stands in is there, with room for each bound by itself."""
MINIMAL: Manifest = {**ROOMY, "spec": {"components": [{"name": "api"}]}}

A, G, T, B = "spec.components[2]", "spec.components[0]", "spec.tiers", "spec.circuitBreaker"
SPARE = f"{T}.definitions[1].policies[1]"
WHOLE: tuple[tuple[str, int, int], ...] = (
    ("spec.replicas", 0, 1000),
    (f"{G}.replicas", 0, 1000),
    (f"{A}.minReplicas", 1, 1000),
    (f"{A}.maxReplicas", 1, 1000),
    (f"{A}.behavior.panic.thresholdPercent", 110, 1000),
    (f"{A}.behavior.scaleUp.tolerancePercent", 0, 50),
    (f"{A}.behavior.scaleDown.tolerancePercent", 0, 50),
    (f"{A}.behavior.scaleUp.policies[0].value", 1, 10_000),
    (f"{A}.fallback.replicas", 1, 1000),
    (f"{A}.schedule[0].min", 1, 1000),
    (f"{A}.schedule[0].max", 1, 1000),
    (f"{T}.definitions[1].concurrency", 1, 100_000),
    (f"{SPARE}.quota", 1, 1_000_000_000),
    (f"{SPARE}.window", 1, 86_400),
    (f"{T}.routes[0].cost", 0, 1000),
    (f"{T}.credentialFailures.quota", 1, 1_000_000_000),
    (f"{T}.credentialFailures.window", 1, 86_400),
    (f"{T}.rotation.historyLimit", 0, 5),
    (f"{T}.rotation.canary.podsPercent", 1, 50),
    (f"{T}.rotation.canary.minRequests", 0, 1_000_000),
    (f"{T}.rotation.canary.abortIf.rejectPercentOver", 0, 100),
    (f"{T}.rotation.canary.abortIf.errorPercentOver", 0, 100),
    (f"{T}.rotation.canary.abortIf.p95PercentOver", 0, 1000),
    (f"{B}.failureThreshold", 0, 1000),
    (f"{B}.openSeconds", 1, 600),
    (f"{B}.halfOpenSuccesses", 1, 100),
    (f"{B}.halfOpenConcurrency", 1, 100),
    (f"{B}.windowSeconds", 1, 600),
    (f"{B}.minimumCalls", 1, 100_000),
    (f"{B}.slowCallSeconds", 1, 600),
    (f"{B}.maxOpenSeconds", 1, 3600),
    (f"{B}.maxEjectedPercent", 0, 100),
    ("spec.budget.maxReplicaHours", 1, 10_000_000),
    *((f"spec.budget.weights.{name}", 0, 1000) for name in ("gateway", "balancer", "api", "worker")),
)
DURATIONS: tuple[tuple[str, str, str, str, str], ...] = (  # lowest, below it, highest, above it
    (f"{A}.behavior.stableWindow", "6s", "5999ms", "1h", "1h1ms"),
    (f"{A}.behavior.panic.window", "2s", "1999ms", "5m", "5m1ms"),
    (f"{A}.behavior.scaleUp.stabilizationWindow", "0s", "", "1h", "60m1ms"),
    (f"{A}.behavior.scaleDown.stabilizationWindow", "0s", "", "1h", "3601s"),
    (f"{A}.behavior.scaleUp.policies[0].period", "1s", "999ms", "30m", "30m1ms"),
    (f"{A}.drain.timeout", "0s", "", "30m", "31m"),
    (f"{A}.drain.settle", "0s", "", "60s", "1m1s"),
    (f"{A}.fallback.after", "5s", "4999ms", "10m", "10m1ms"),
    (f"{A}.schedule[0].duration", "1m", "59s", "168h", "168h1ms"),
    (f"{A}.metrics[0].prometheus.interval", "5s", "4s999ms", "5m", "5m1ms"),
    (f"{T}.rotation.canary.hold", "10s", "9999ms", "24h", "24h1ms"),
    (f"{T}.rotation.ackTimeout", "1s", "999ms", "10m", "10m1ms"),
)
TEXTS: tuple[tuple[str, str, str, str], ...] = (  # longest, one too long, another that is refused ('' = none)
    ("spec.control.tokenSecretRef.name", "s" * 63, "s" * 64, "Shop"),
    ("spec.control.tokenSecretRef.key", "k" * 63, "k" * 64, ""),
    (f"{G}.targetRef.name", "d" * 63, "d" * 64, "-shop"),
    (f"{A}.metrics[0].name", "m" * 32, "m" * 33, "in_flight"),
    (f"{A}.metrics[0].prometheus.server", "p" * 32, "p" * 33, "http://prometheus"),
    (f"{A}.metrics[0].prometheus.query", "q" * 1024, "q" * 1025, ""),
    (f"{A}.schedule[0].name", "s" * 32, "s" * 33, "s-"),
    (f"{A}.schedule[0].timeZone", "America/Argentina/ComodRivadavia", "Z" * 65, "Europe Warsaw"),
    (f"{A}.schedule[0].cron", "*/15 0-23,5 1 1 0", "0 8 * * 1-5 ", "0 8 * * MON"),
    (f"{A}.schedule[0].cron", "0 0 1 1 0", "0 8 * *", "0 8 * * 1 2"),
    (f"{A}.schedule[0].cron", "* * * * *", "@daily", "0 " + "1" * 25 + " * * *"),
    (f"{T}.definitions[2].name", "t" * 32, "t" * 33, "3rd"),
    (f"{SPARE}.name", "p" * 27, "p" * 28, "Spare"),
    (f"{T}.routes[0].match", "GET /" + "x" * 251, "GET /" + "x" * 252, "* "),
)
ENUMS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("spec.mode", ("Auto", "Recommend", "Manual"), "auto"),
    (f"{A}.mode", ("Auto", "Recommend", "Manual"), "Off"),
    (f"{G}.targetRef.kind", ("Deployment",), "StatefulSet"),
    (f"{A}.metrics[0].prometheus.kind", ("Total", "Ratio"), "Sum"),
    (f"{A}.behavior.scaleUp.select", ("Max", "Min", "Disabled"), "None"),
    (f"{A}.behavior.scaleUp.policies[0].type", ("Percent", "Pods"), "Replicas"),
    (f"{A}.fallback.behavior", ("Hold", "HoldOrHigher"), "Lower"),
    (f"{T}.definitions[1].criticality", ("sheddable", "sheddable-plus", "critical", "critical-plus"), "high"),
    (f"{SPARE}.mode", ("enforce", "shadow", "off"), "on"),
    (f"{SPARE}.algorithm", ("sliding", "gcra", "log"), "fixed"),
    (f"{SPARE}.onStoreFailure", ("local", "open", "closed"), "ignore"),
    (f"{T}.routes[0].criticality", ("sheddable", "sheddable-plus", "critical", "critical-plus"), "low"),
    (f"{T}.enforcement", ("Enforce", "Audit"), "Shadow"),
    (f"{T}.rotation.strategy", ("Immediate", "Canary"), "Rolling"),
    ("spec.budget.per", ("Day", "Week", "Month"), "Year"),
    ("spec.budget.onExceeded", ("Report", "CapScaleUp"), "Stop"),
)
LISTS: tuple[tuple[str, int, int, Any], ...] = (  # fewest, most, an entry; {n} in a name is its number
    ("spec.components", 1, 4, None),
    (f"{A}.metrics", 0, 8, {"name": "m{n}", "type": "RPS", "target": 1}),
    (f"{A}.behavior.scaleUp.policies", 0, 4, {"type": "Pods", "value": 1, "period": "1s"}),
    (f"{A}.schedule", 0, 16, {"name": "s{n}", "cron": "0 8 * * *", "duration": "1h", "min": 1}),
    (f"{T}.definitions", 1, 32, None),
    (f"{T}.definitions[2].policies", 1, 4, {"name": "p{n}", "quota": 100, "window": 60}),
    (f"{T}.routes", 0, 128, {"match": "GET /x{n}"}),
)
UNKNOWN = (
    "spec",
    "spec.paused",
    A,
    f"{A}.metrics[0]",
    f"{A}.behavior",
    T,
    f"{T}.definitions[0]",
    SPARE,
    B,
    "spec.budget",
)
MISSING = (
    *("spec.components", f"{G}.name", f"{A}.metrics[0].target", f"{A}.metrics[0].prometheus.query"),
    *(f"{A}.schedule[0].cron", f"{A}.schedule[0].duration", f"{A}.behavior.scaleUp.policies[0].period"),
    *(f"{T}.definitions[0].criticality", f"{T}.definitions[0].policies", f"{SPARE}.quota", f"{SPARE}.window"),
    *(f"{T}.routes[0].match", "spec.budget.maxReplicaHours"),
)
TYPES: tuple[tuple[str, Any], ...] = (
    (f"{A}.minReplicas", "2"),
    (f"{A}.maxReplicas", 2.5),
    ("spec.paused.scaleUp", "yes"),
    ("spec.mode", 1),
    (f"{B}.failureRatio", "0.5"),
    (f"{A}.drain", "60s"),
    (f"{A}.metrics", {"name": "m"}),
    (f"{A}.drain.timeout", 60),
    (f"{A}.drain.timeout", "60"),
    (f"{A}.drain.timeout", "1 m"),
    (f"{A}.drain.timeout", "-1s"),
    (f"{A}.drain.timeout", "1.5m"),
    (f"{A}.drain.timeout", "1s1s1s1s1s"),
)


def steps(path: str) -> list[str | int]:
    """`spec.tiers.routes[0]` → spec, tiers, routes, 0."""
    parts = path.replace("[", ".").replace("]", "").split(".")
    return [int(part) if part.isdigit() else part for part in parts]


def put(path: str, value: Any, base: Manifest = ROOMY) -> Manifest:
    """`base` with `value` at `path`; objects on the way are made."""
    made = deepcopy(base)
    *way, last = steps(path)
    here: Any = made
    for step in way:
        here = here[step] if isinstance(step, int) else here.setdefault(step, {})
    here[last] = deepcopy(value)
    return made


def without(path: str) -> Manifest:
    made = deepcopy(ROOMY)
    *way, last = steps(path)
    here: Any = made
    for step in way:
        here = here[step]
    del here[last]
    return made


def _bounds() -> Iterator[Case]:
    for path, low, high in WHOLE:
        for value in (low, high):
            yield Case(f"{path} {value}", put(path, value))
        yield Case(f"{path} {low - 1}", put(path, low - 1), path, f"at least {low}")
        yield Case(f"{path} {high + 1}", put(path, high + 1), path, f"at most {high}")
    for path in (f"{B}.failureRatio", f"{B}.slowCallRatio"):
        for ratio in (0.01, 1):
            yield Case(f"{path} {ratio}", put(path, ratio))
        yield Case(f"{path} 0.009", put(path, 0.009), path, "at least 0.01")
        yield Case(f"{path} 1.01", put(path, 1.01), path, "at most 1")
    for path, lowest, below, highest, above in DURATIONS:
        for text in (lowest, highest):
            yield Case(f"{path} {text}", put(path, text))
        for text in filter(None, (below, above)):
            yield Case(f"{path} {text}", put(path, text), path, f"is outside {lowest}…{highest}", rule="R15")


def _words() -> Iterator[Case]:
    for path, longest, longer, wrong in TEXTS:
        yield Case(f"{path} {longest[:20]} of {len(longest)}", put(path, longest))
        for text in (longer, wrong):
            yield Case(f"{path} {text[:30]!r} of {len(text)}", put(path, text), path, "is refused")
    for path, values, wrong in ENUMS:
        for value in values:
            yield Case(f"{path} {value}", put(path, value))
        yield Case(f"{path} {wrong}", put(path, wrong), path, "is not one of its values")
    for where in UNKNOWN:
        yield Case(f"{where} has an unknown field", put(f"{where}.size", 1), f"{where}.size", "is not a field here")
    for path in MISSING:
        yield Case(f"{path} missing", without(path), path, "is missing")
    for path, value in TYPES:
        yield Case(f"{path} {value!r}", put(path, value), path)


def _entries(path: str, entry: Any, count: int) -> list[Any]:
    if path == "spec.components":
        return [{"name": name} for name in ("gateway", "balancer", "api", "worker", "gateway")[:count]]
    if path == f"{T}.definitions":
        names = ["anonymous", "free", *(f"t{n}" for n in range(count))][:count]
        return [
            {"name": n, "criticality": "critical", "policies": [{"name": n, "quota": 100, "window": 60}]} for n in names
        ]
    return [{k: v.format(n=n) if isinstance(v, str) else v for k, v in entry.items()} for n in range(count)]


def _lists() -> Iterator[Case]:
    for path, fewest, most, entry in LISTS:
        accepted = {most} if path == f"{T}.definitions" else {fewest, most}  # the default tiers need two
        for count in sorted(accepted):
            yield Case(f"{path} of {count}", put(path, _entries(path, entry, count)))
        yield Case(f"{path} of {most + 1}", put(path, _entries(path, entry, most + 1)), path, f"at most {most} entries")
        if fewest:
            yield Case(f"{path} of 0", put(path, []), path, "at least 1 entries")
    yield Case(
        "one tier that is both",
        put(T, {"definitions": _entries(f"{T}.definitions", None, 1), "defaultTier": "anonymous"}),
    )
    twice = (
        ("spec.components", {"name": "api"}),
        (f"{A}.metrics", {"name": "m", "type": "RPS", "target": 1}),
        (f"{A}.schedule", {"name": "s", "cron": "0 8 * * *", "duration": "1h", "min": 1}),
        (f"{T}.definitions", ROOMY["spec"]["tiers"]["definitions"][0]),
        (f"{T}.definitions[2].policies", {"name": "p", "quota": 100, "window": 60}),
    )
    for path, same in twice:
        yield Case(f"{path} has a name twice", put(path, [same, same]), path, "stands twice")


def _targets() -> Iterator[Case]:
    path = f"{A}.metrics[0].target"
    for good in (1, 999_999_999, "1.5", "0.001", "999999999.999", "20"):
        yield Case(f"target {good!r}", put(path, good))
    for bad in (0, -1, 1_000_000_000, "0", "0.000"):
        yield Case(f"target {bad!r}", put(path, bad), path, "is outside 0.001…999999999.999", rule="R5")
    for bad in ("1.2345", "abc", "1.", ".5", "-1", "1e3", "1234567890"):
        yield Case(f"target {bad!r}", put(path, bad), path, "is no number of at most 9 digits and 3 decimals")
    for odd in (1.5, True, None):
        yield Case(f"target {odd!r}", put(path, odd), path, "is neither a whole number nor quoted text")


def _rules() -> Iterator[Case]:
    broken: list[tuple[str, str, Any, str, str]] = [  # rule, where it is put, what, the field named, the words
        ("R1", "metadata.name", "n" * 41, "metadata.name", "at most 40 characters"),
        ("R2", f"{A}.minReplicas", 1000, f"{A}.minReplicas", "lower the first"),
        ("R3", f"{A}.fallback", {"replicas": 501}, f"{A}.fallback.replicas", "is above maxReplicas"),
        ("R4", f"{A}.replicas", 3, f"{A}.replicas", "the api's count is spec.replicas; move it there"),
        ("R6", f"{A}.metrics[0].type", "RPS", f"{A}.metrics[0].prometheus", "stands with type Prometheus, and only then"),
        ("R6", f"{A}.metrics", [{"name": "m", "type": "Prometheus", "target": 1}], f"{A}.metrics[0].prometheus", "and only then"),
        ("R7", f"{A}.behavior", {"stableWindow": "7s", "panic": {"window": "3501ms"}}, f"{A}.behavior.panic.window", "is over half of"),
        ("R9", f"{A}.schedule[0]", {"name": "s", "cron": "0 8 * * *", "duration": "1h"}, f"{A}.schedule[0]", "changes nothing"),
        ("R9", f"{A}.schedule[0]", {"name": "s", "cron": "0 8 * * *", "duration": "1h", "min": 3, "max": 2},
         f"{A}.schedule[0].min", "is above max"),
        ("R10", f"{T}.anonymousTier", "nobody", f"{T}.anonymousTier", "names no tier of definitions"),
        ("R10", f"{T}.defaultTier", "nobody", f"{T}.defaultTier", "names no tier of definitions"),
        ("R11", f"{T}.rotation", {"strategy": "Scheduled"}, f"{T}.rotation.at", "stands with strategy Scheduled, and only then"),
        ("R11", f"{T}.rotation", {"at": "2026-12-01T06:00:00Z"}, f"{T}.rotation.at", "and only then"),
        ("R12", f"{A}.metrics", [{"name": "m", "type": "QueueDepth", "target": 1}], f"{A}.metrics", "only a worker by QueueDepth"),
        ("R12", "spec.components[3].metrics", [{"name": "m", "type": "RPS", "target": 1}], "spec.components[3].metrics",
         "a worker is measured by QueueDepth, CPU or Prometheus"),
        ("R13", B, {"openSeconds": 301}, f"{B}.openSeconds", "is above maxOpenSeconds"),
        ("R14", "spec", {"replicas": 3, "components": [{"name": "gateway"}]}, "spec.replicas", "components has no api"),
        ("R16", f"{SPARE}.name", "spare-next", f"{SPARE}.name", "ends in -next, which a rotation adds"),
        ("R16", f"{T}.routes[0].policy", {**POLICY, "name": "x-next"}, f"{T}.routes[0].policy.name", "ends in -next"),
        ("R16", f"{SPARE}", {**POLICY, "quota": 104_249_992, "window": 86_400}, f"{SPARE}.quota", "cannot be counted exactly"),
    ]  # fmt: skip
    narrow = put(f"{A}.maxReplicas", 500)
    for rule, where, value, field, said in broken:
        base = narrow if rule in {"R2", "R3"} else ROOMY
        yield Case(f"{rule}: {where} {str(value)[:70]}", put(where, value, base), field, said, rule=rule)


def _kept_rules() -> Iterator[Case]:
    at = "2026-12-01T06:00:00"
    kept: list[tuple[str, str, Any]] = [
        ("R1", "metadata.name", "n" * 40),
        ("R2", A, {"name": "api", "minReplicas": 7, "maxReplicas": 7}),
        ("R3", A, {"name": "api", "maxReplicas": 7, "fallback": {"replicas": 7}}),
        ("R7", f"{A}.behavior", {"stableWindow": "7s", "panic": {"window": "3500ms"}}),
        ("R9", f"{A}.schedule[0]", {"name": "s", "cron": "0 8 * * *", "duration": "1h", "min": 3, "max": 3}),
        ("R11", f"{T}.rotation", {"strategy": "Scheduled", "at": f"{at}Z"}),
        ("R11", f"{T}.rotation", {"strategy": "Scheduled", "at": f"{at}.123456+02:00", "canary": {}}),
        (
            "R12",
            f"{A}.metrics",
            [{"name": t.lower(), "type": t, "target": 1} for t in ("InFlight", "RPS", "CPU", "P95Latency", "LoopLag")],
        ),
        (
            "R12",
            "spec.components[3].metrics",
            [{"name": t.lower(), "type": t, "target": 1} for t in ("QueueDepth", "CPU")],
        ),
        ("R13", B, {"openSeconds": 300}),
        ("R16", f"{SPARE}", {**POLICY, "quota": 104_249_991, "window": 86_400}),
        ("R16", f"{SPARE}.name", "next"),
    ]
    for rule, where, value in kept:
        yield Case(f"{rule} just kept: {where} {str(value)[:70]}", put(where, value))
    for text in ("2026-12-01", f"{at}", "2026-13-01T06:00:00Z", "tomorrow"):
        manifest = put(f"{T}.rotation", {"strategy": "Scheduled", "at": text})
        yield Case(f"rotation.at {text}", manifest, f"{T}.rotation.at", "is no moment")


def _of_one() -> Iterator[Case]:
    """What only the models see, and what only the API server can see."""
    twice = put(f"{SPARE}.name", "third")
    yield Case("a policy's name twice in the document", twice, T, "is the name of", by="model")
    yield Case(
        "a cost above a quota",
        put(f"{T}.routes[0].cost", 101, put(f"{SPARE}.mode", "shadow")),
        T,
        "is above quota 100",
        by="model",
    )
    yield Case(
        "calendar of an hour", put(SPARE, {**POLICY, "algorithm": "calendar"}), SPARE, "window: 86400", by="model"
    )
    yield Case(
        "log of many", put(SPARE, {**POLICY, "algorithm": "log", "quota": 1001}), SPARE, "at most 1000", by="model"
    )
    for text in ("GET x", "get /x", "GET /a/*/b"):
        yield Case(f"match {text!r}", put(f"{T}.routes[0].match", text), f"{T}.routes[0].match", text, by="model")
    other = put(f"{G}.targetRef.name", "other")
    yield Case(
        "R8: another targetRef",
        other,
        f"{G}.targetRef",
        "targetRef cannot change",
        rule="R8",
        by="server",
        before=ROOMY,
    )
    yield Case("R8 kept: applied again", ROOMY, by="server", before=ROOMY)
    yield Case("R8 kept: targetRef named later", ROOMY, by="server", before=without(f"{G}.targetRef"))


def _whole() -> Iterator[Case]:
    yield Case("minimal", MINIMAL)
    yield Case("roomy", ROOMY)
    yield Case("calendar of a day", put(SPARE, {**POLICY, "algorithm": "calendar", "window": 86_400}))
    for path in sorted(SAMPLES.glob("*.yaml")):
        yield Case(f"sample {path.name}", yaml.safe_load(path.read_text()))


CASES: tuple[Case, ...] = (
    *_whole(), *_bounds(), *_words(), *_lists(), *_targets(), *_rules(), *_kept_rules(), *_of_one(),
)  # fmt: skip
