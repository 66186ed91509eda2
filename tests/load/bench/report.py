"""Rounds into rows, rows into ratios, a table, one JSON object and a verdict. Pure but for `save`. Called by __main__.

Absolute figures hold for one machine; what is promised is ratios within one run, of CPU per request, medians.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.load.bench.idle import Held
from tests.load.bench.measure import FOREIGN_MAX, Round
from tests.load.bench.scenarios import LUA

OUT: Final = Path(__file__).resolve().parents[1] / "out"
SATURATED: Final = 0.95
OURS: Final = ("engine", "balancer", "gateway")
FIGURES: Final = ("rps", "p50_us", "p99_us", "cpu_us", "user_us", "sys_us", "util", "rss_kib", "store_us")
BASE: Final = {"plain": "nginx", "limited": "nginx limit_req", "c1": "nginx"}
"""What the column ×nginx divides by."""


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio that must not exceed `bound`, and the scenario it comes from."""

    ratio: str
    scenario: str
    bound: float


TARGETS: Final = (  # of plain Python; the compiled image's are tighter
    Target("balancer_vs_nginx", "plain", 1.6),
    Target("gateway_limit_vs_nginx_lua_redis", "limited", 1.0),
)


@dataclass(slots=True)
class Row:
    """A proxy in a scenario: its rounds, or what it held, or why there is no figure."""

    scenario: str
    proxy: str
    rounds: list[Round] = field(default_factory=list)
    held: Held | None = None
    error: str = ""

    def of(self, name: str) -> float | None:
        """The median of a field of Round; None without a figure."""
        return None if self.error or not self.rounds else float(median(getattr(one, name) for one in self.rounds))

    @property
    def spread(self) -> tuple[float, float]:
        """CPU per request, lowest and highest round."""
        values = [one.cpu_us for one in self.rounds]
        return min(values), max(values)

    @property
    def per_core(self) -> float | None:
        """Requests/s that one core can do: seen if the proxy was saturated, else from its CPU per request."""
        rps, util, cpu_us = self.of("rps"), self.of("util"), self.of("cpu_us")
        if rps is None or util is None or cpu_us is None:
            return None
        return rps if util >= SATURATED else 1e6 / cpu_us

    @property
    def notes(self) -> list[str]:
        notes = []
        if self.scenario != "c1" and (self.of("util") or 1.0) < SATURATED:
            notes.append("not saturated")
        if any(one.foreign > FOREIGN_MAX for one in self.rounds):
            notes.append("foreign load")
        return notes


Rows = list[Row]


def find(rows: Rows, scenario: str, proxy: str) -> Row:
    """A row that was not measured has no figures either."""
    return next((row for row in rows if (row.scenario, row.proxy) == (scenario, proxy)), Row(scenario, proxy))


def divided(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else round(one / other, 3)


def cpu_ratio(rows: Rows, scenario: str, proxy: str, peer: str) -> float | None:
    return divided(find(rows, scenario, proxy).of("cpu_us"), find(rows, scenario, peer).of("cpu_us"))


def ratios(rows: Rows) -> dict[str, float | None]:
    """None: not measured in this run."""
    refused, admitted = find(rows, "refused", "gateway"), find(rows, "limited", "gateway")
    held = [row.held.each_kib for row in rows if row.held and row.proxy.startswith("balancer")]
    return {
        "balancer_vs_nginx": cpu_ratio(rows, "plain", "balancer", "nginx"),
        "gateway_limit_vs_nginx_limit": cpu_ratio(rows, "limited", "gateway", "nginx limit_req"),
        "gateway_limit_vs_nginx_lua_redis": cpu_ratio(rows, "limited", "gateway", LUA),
        "gateway_limit_vs_envoy_limit": cpu_ratio(rows, "limited", "gateway", "envoy local limit"),
        "refused_vs_admitted_rps": divided(refused.per_core, admitted.per_core),
        "idle_connection_kib": round(max(held), 2) if held else None,
    }


def as_json(rows: Rows, row: Row) -> dict[str, Any]:
    """One row; a figure that does not exist is null."""
    figures = {name: _short(row.of(name)) for name in FIGURES}
    peers = [r.proxy for r in rows if r.scenario == row.scenario and not r.proxy.startswith(OURS)]
    against = {peer: cpu_ratio(rows, row.scenario, row.proxy, peer) for peer in peers if peer != row.proxy}
    found: dict[str, Any] = {"scenario": row.scenario, "proxy": row.proxy, **figures}
    found["ratio"] = {peer: value for peer, value in against.items() if value is not None}
    if row.error:
        return found | {"error": row.error}
    if row.held:
        own = {"rss_kib": row.held.rss_kib, "connections": row.held.connections}
        return found | own | {"connection_kib": round(row.held.each_kib, 2)}
    return found | {"cpu_us_min": _short(row.spread[0]), "cpu_us_max": _short(row.spread[1]), "notes": row.notes}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def missed(rows: Rows, scenarios: list[str], missing: dict[str, str]) -> list[str]:
    """Targets of the scenarios that ran, one line each. No figure is a miss too, unless a peer is missing: that has its own exit code."""
    found = []
    values = ratios(rows)
    for target in TARGETS:
        value = values[target.ratio]
        if target.scenario not in scenarios or (value is None and missing):
            continue
        if value is None or value > target.bound:
            found.append(f"missed: {target.ratio} is {value}, to be ≤ {target.bound}")
    return found


HEAD: Final = f"{'proxy':<30}{'req/s':>8}{'cpu µs (min–max)':>24}{'user':>7}{'sys':>7}{'p50':>8}{'p99':>9}{'store µs':>10}{'×nginx':>8}"


def table(rows: Rows) -> str:
    lines: list[str] = []
    for scenario in dict.fromkeys(row.scenario for row in rows):
        head = f"{'proxy':<30}{'connections':>12}{'KiB each':>10}{'RSS MiB':>10}" if scenario == "idle" else HEAD
        lines += ["", f"{scenario}", head, "-" * len(head)]
        lines += [_line(rows, row) for row in rows if row.scenario == scenario]
    lines += ["", *(f"{name:<36}{'–' if value is None else f'{value:g}'}" for name, value in ratios(rows).items())]
    return "\n".join(lines).lstrip("\n")


def _line(rows: Rows, row: Row) -> str:
    if row.error:
        return f"{row.proxy:<30}  no figure: {row.error}"
    if row.held:
        held = row.held
        return f"{row.proxy:<30}{held.connections:>12}{held.each_kib:>10.2f}{held.rss_kib / 1024:>10.1f}"
    low, high = row.spread
    rps, cpu, user, system, p50, p99, store = (
        row.of(name) or 0.0 for name in ("rps", "cpu_us", "user_us", "sys_us", "p50_us", "p99_us", "store_us")
    )
    base = cpu_ratio(rows, row.scenario, row.proxy, BASE.get(row.scenario, ""))
    return (
        f"{row.proxy:<30}{rps:>8.0f}{f'{cpu:.1f} ({low:.1f}–{high:.1f})':>24}{user:>7.1f}{system:>7.1f}{p50:>8.0f}{p99:>9.0f}"
        f"{f'{store:.1f}' if store else '–':>10}{'–' if base is None else f'{base:.2f}':>8}  {', '.join(row.notes)}"
    ).rstrip()


def save(content: dict[str, Any], started: str) -> Path:
    """`tests/load/out/<time>.json`."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{started.replace(':', '')}.json"
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path
