"""What the gateway knows about a path before anything else happens: template, methods, cost, criticality, limits,
series.

`core/routes.py` (generated from the OpenAPI document) gives templates; the tiers document gives cost, criticality and
a policy per `routes` entry, first match wins. Both are compiled into one `RouteRecord` per (template, method) when a
document comes into force, and swapped in one assignment. A rule that is narrower than a template (`GET
/api/v1/resources/7`) cannot be decided per template: such templates keep their rules and are matched per path. Paths
no template knows share the label `other`, are matched per path as well, and are forwarded: the api answers 404 or
serves the dashboard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from services.core.routes import ROUTES, Route, find
from services.core.verdicts import Refusal
from services.http1.exchange import Exchange
from services.runtime.metrics import Cell, Counter, Histogram, Series
from services.schema.tiers import Policy, RouteRule, TiersDocument

METHODS: Final = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT")
CRITICALITIES: Final = ("sheddable", "sheddable-plus", "critical", "critical-plus")
OTHER: Final = "other"
OTHER_METHOD: Final = "_OTHER"
OPS: Final = frozenset({"/metrics", "/lb/status"})  # for operators' eyes, contract.md 1.8, 1.10
HEALTH: Final = frozenset({"/health", "/health/live", "/health/ready", "/ready"})
# Cost 0 by contract.md 5, where the tiers document's own rules say nothing: health, docs, dashboard files, logout.
EXEMPT: Final = frozenset(
    {
        *(
            (method, path)
            for path in (*HEALTH, "/metrics", "/api/docs", "/api/openapi.json")
            for method in (b"GET", b"HEAD")
        ),
        *((method, "/problems/{slug}") for method in (b"GET", b"HEAD")),
        *((b"POST", f"/api/v1/{path}") for path in ("auth/logout", "auth/logout-all", "admin/logout")),
    }
)
FILES: Final = re.compile(rb"/|/assets/.*|/favicon\.ico|/index\.html")  # the dashboard: cost 0, critical-plus

KEPT: Final = 4096  # (method, path) pairs remembered; random paths only make the memo start anew


class Meter:
    """The cells of one method and template, fetched once."""

    __slots__ = ("_counter", "_durations", "durations", "method", "route", "statuses")

    def __init__(self, method: str, route: str, counter: Counter, durations: Histogram) -> None:
        self.method, self.route = method, route
        self.durations: Series | None = None  # opened by the first request: most methods of a route never come
        self.statuses: dict[int, Cell] = {}
        self._counter, self._durations = counter, durations

    def count(self, status: int, seconds: float) -> None:
        cell = self.statuses.get(status)
        if cell is None:
            cell = self.statuses[status] = self._counter.cell(self.method, self.route, str(status))
        cell.n += 1
        if self.durations is None:
            self.durations = self._durations.series(self.method, self.route)
        self.durations.observe(seconds)


@dataclass(slots=True)
class RouteRecord:
    """`x.route`: one method of one template, under one tiers document."""

    template: str
    meter: Meter
    cost: int = 1
    criticality: int | None = None  # None: the tier's
    policy: Policy | None = None
    body_limit: int = 10 << 20
    slow: bool = False
    refusal: Refusal | None = None  # 405, with Allow
    health: bool = False
    ops: bool = False
    upgrade: bool = False
    tells_limit: bool = False  # ~/me: the api shows the caller's limits


class RouteTable:
    """`record(method, path)` is the whole interface; `use` compiles a document."""

    def __init__(self, counter: Counter, durations: Histogram, body_max: int) -> None:
        self._counter, self._durations, self._body_max = counter, durations, body_max
        self._meters: dict[tuple[str, str], Meter] = {}
        self._records: dict[tuple[str, bytes], RouteRecord] = {}
        self._unknown: tuple[Rule, ...] = ()
        self._narrow: dict[str, tuple[Rule, ...]] = {}
        self._kept: dict[tuple[bytes, bytes], RouteRecord] = {}

    def use(self, document: TiersDocument) -> None:
        """Compile aside, then swap: a request sees the old document or the new one."""
        rules = tuple(Rule(rule) for rule in document.spec.routes)
        narrow = {route.template: rules for route in ROUTES if any(rule.narrower(route.template) for rule in rules)}
        records = {
            (route.template, method): self._compile(route, method, rules) for route in ROUTES for method in METHODS
        }
        self._records, self._unknown, self._narrow, self._kept = records, rules, narrow, {}

    def record(self, method: bytes, path: bytes) -> RouteRecord:
        """The record of a request; `path` is normalised."""
        kept = self._kept
        record = kept.get((method, path))
        if record is None:
            if len(kept) >= KEPT:
                kept.clear()
            record = kept[(method, path)] = self._find(method, path)
        return record

    def _find(self, method: bytes, path: bytes) -> RouteRecord:
        route = find(path)
        if route is None:
            return self._loose(method, path, None, self._unknown)
        if self._narrow and (rules := self._narrow.get(route.template)):
            return self._loose(method, path, route, rules)
        record = self._records.get((route.template, method))
        return record if record is not None else self._compile(route, method, ())

    def meter(self, method: bytes, template: str) -> Meter:
        name = method.decode() if method in METHODS else OTHER_METHOD
        meter = self._meters.get((name, template))
        if meter is None:
            meter = self._meters[(name, template)] = Meter(name, template, self._counter, self._durations)
        return meter

    def _compile(self, route: Route, method: bytes, rules: tuple[Rule, ...]) -> RouteRecord:
        rule = next((rule for rule in rules if rule.covers(method, route.template)), None)
        return self._make(method, route, rule, (method, route.template) in EXEMPT)

    def _loose(self, method: bytes, path: bytes, route: Route | None, rules: tuple[Rule, ...]) -> RouteRecord:
        rule = next((rule for rule in rules if rule.matches(method, path)), None)
        files = route is None and method in {b"GET", b"HEAD"} and FILES.fullmatch(path) is not None
        exempt = files or (route is not None and (method, route.template) in EXEMPT)
        record = self._make(method, route, rule, exempt)
        if files and record.criticality is None:
            record.criticality = CRITICALITIES.index("critical-plus")
        return record

    def _make(self, method: bytes, route: Route | None, rule: Rule | None, exempt: bool) -> RouteRecord:
        template = route.template if route else OTHER
        served = route is not None and method in route.methods
        record = RouteRecord(template, self.meter(method, template if served else OTHER), cost=0 if exempt else 1)
        record.body_limit = min(route.body_limit, self._body_max) if route else self._body_max
        record.slow = route is not None and route.slow
        record.upgrade = route is not None and route.upgrade
        record.health, record.ops = template in HEALTH, template in OPS
        record.tells_limit = template == "/api/v1/me"
        if route is not None and not served and method != b"OPTIONS":
            record.refusal = not_allowed(route.methods)
        if rule is not None:
            record.cost = rule.cost if rule.cost is not None else record.cost
            record.criticality, record.policy = rule.criticality, rule.policy
        return record


class Rule:
    """One `routes` entry of the tiers document, ready to match."""

    __slots__ = ("_method", "_path", "_segments", "_tail", "cost", "criticality", "policy")

    def __init__(self, rule: RouteRule) -> None:
        method, _, path = rule.match.partition(" ")
        self._method = None if method == "*" else method.encode()
        segments = path.split("/")[1:]
        self._tail = segments[-1] == "*"
        self._segments = tuple(segments[:-1] if self._tail else segments)
        parts = "".join("/" + ("[^/]+" if _is_slot(part) else re.escape(part)) for part in self._segments)
        self._path = re.compile((parts + ("/.*" if self._tail else "")).encode())
        self.cost = rule.cost
        self.criticality = None if rule.criticality is None else CRITICALITIES.index(rule.criticality)
        self.policy = rule.policy if rule.policy is not None and rule.policy.mode != "off" else None

    def matches(self, method: bytes, path: bytes) -> bool:
        return self._takes(method) and self._path.fullmatch(path) is not None

    def covers(self, method: bytes, template: str) -> bool:
        """Every path of the template matches."""
        return self._takes(method) and self._compare(template)[0]

    def narrower(self, template: str) -> bool:
        """Some of the template's paths match, not all."""
        covers, touches = self._compare(template)
        return touches and not covers

    def _takes(self, method: bytes) -> bool:
        # HEAD is GET without a body: it costs and matters the same
        return self._method is None or method == self._method or (method == b"HEAD" and self._method == b"GET")

    def _compare(self, template: str) -> tuple[bool, bool]:
        theirs = template.split("/")[1:]
        mine = self._segments
        if len(theirs) < len(mine) + self._tail or (len(theirs) > len(mine) and not self._tail):
            return False, False
        covers = True
        for part, other in zip(mine, theirs, strict=False):
            if _is_slot(part) or part == other:
                continue
            if not _is_slot(other):
                return False, False
            covers = False
        return covers, True


def route_of(x: Exchange) -> str:
    """The template for a label; `other` where no route was found."""
    return OTHER if x.route is None else str(x.route.template)


def not_allowed(methods: frozenset[bytes]) -> Refusal:
    allow = [*sorted(method.decode() for method in methods), "OPTIONS"]
    return Refusal(
        "method-not-allowed",
        "method",
        facts={"allow": tuple(allow)},
        headers=(b"Allow: " + ", ".join(allow).encode() + b"\r\n",),
    )


def _is_slot(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")
