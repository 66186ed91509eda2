from __future__ import annotations

import pytest

from tests.load.bench.idle import Held
from tests.load.bench.measure import Round
from tests.load.bench.report import FIGURES, Row, as_json, missed, ratios, table
from tests.load.bench.scenarios import LUA, SCENARIOS


def a_round(cpu_us: float, rps: float = 20_000.0, util: float = 1.0, foreign: float = 0.0) -> Round:
    return Round(rps, 900.0, 2000.0, cpu_us, cpu_us / 4, cpu_us * 3 / 4, util, 9000, 0.0, foreign)


def row(scenario: str, proxy: str, *costs: float, util: float = 1.0, rps: float = 20_000.0) -> Row:
    return Row(scenario, proxy, [a_round(cost, rps, util) for cost in costs])


ALL = [
    row("plain", "nginx", 20.0, 19.0, 40.0),
    row("plain", "balancer", 30.0, 31.0, 29.0),
    row("limited", "nginx limit_req", 25.0),
    row("limited", LUA, 60.0),
    row("limited", "envoy local limit", 100.0),
    row("limited", "gateway", 50.0, rps=20_000.0),
    row("refused", "gateway", 10.0, util=0.5, rps=50_000.0),
    Row("idle", "balancer, nothing sent", held=Held(10_000, 90_000, 2.5)),
    Row("idle", "balancer, one request each", held=Held(10_000, 99_000, 3.456)),
    Row("idle", "nginx, nothing sent", held=Held(10_000, 9_000, 9.9)),
]


def test_ratios_are_of_medians() -> None:
    """CPU per request, ours over theirs; a refusal's rate is derived where the proxy was not saturated; the worse idle figure counts."""
    assert ratios(ALL) == {
        "balancer_vs_nginx": 1.5,
        "gateway_limit_vs_nginx_limit": 2.0,
        "gateway_limit_vs_nginx_lua_redis": 0.833,
        "gateway_limit_vs_envoy_limit": 0.5,
        "refused_vs_admitted_rps": 5.0,
        "idle_connection_kib": 3.46,
    }


def test_what_was_not_measured_is_null() -> None:
    """A missing row or a row with an error yields no ratio, never a wrong one."""
    broken = Row("plain", "nginx", [a_round(20.0)], error="1 of 9 answers are not 200")
    assert set(ratios([broken, ALL[1]]).values()) == {None}


def test_a_json_row_has_every_figure() -> None:
    """Medians, spread, and the ratio to each peer of its scenario, not to our own rows."""
    found = as_json(ALL, ALL[5])
    assert set(FIGURES) <= set(found)
    assert (found["cpu_us"], found["cpu_us_min"], found["cpu_us_max"]) == (50.0, 50.0, 50.0)
    assert found["ratio"] == {"nginx limit_req": 2.0, LUA: 0.833, "envoy local limit": 0.5}
    assert as_json(ALL, ALL[0])["ratio"] == {}


def test_a_json_row_of_idle_connections() -> None:
    """Memory in place of rates."""
    found = as_json(ALL, ALL[8])
    assert (found["rss_kib"], found["connections"], found["connection_kib"], found["rps"]) == (
        99_000,
        10_000,
        3.46,
        None,
    )


def test_a_json_row_without_a_figure_says_why() -> None:
    """An error stands in place of figures."""
    found = as_json([], Row("plain", "envoy", [a_round(1.0)], error="socket errors: read 1"))
    assert (found["error"], found["cpu_us"]) == ("socket errors: read 1", None)


@pytest.mark.parametrize(
    ("balancer", "lua", "lines"),
    [
        (32.0, 50.0, []),  # on the bound
        (32.1, 50.0, ["missed: balancer_vs_nginx is 1.605, to be ≤ 1.6"]),
        (32.0, 49.0, ["missed: gateway_limit_vs_nginx_lua_redis is 1.02, to be ≤ 1.0"]),
    ],
)
def test_targets(balancer: float, lua: float, lines: list[str]) -> None:
    """A bound may be reached, not passed."""
    rows = [
        row("plain", "nginx", 20.0),
        row("plain", "balancer", balancer),
        row("limited", LUA, lua),
        row("limited", "gateway", 50.0),
    ]
    assert missed(rows, list(SCENARIOS), {}) == lines


def test_no_figure_is_a_miss_unless_a_peer_is_missing() -> None:
    """An error must not pass the gate; a missing peer has its own exit code; a scenario that did not run is not judged."""
    rows = [row("plain", "balancer", 30.0)]
    assert missed(rows, ["plain"], {}) == ["missed: balancer_vs_nginx is None, to be ≤ 1.6"]
    assert missed(rows, ["plain"], {"nginx-lua": "apt-get install …"}) == []
    assert missed(rows, ["c1"], {}) == []


def test_a_miss_counts_even_if_another_peer_is_missing() -> None:
    """What was measured is judged."""
    rows = [row("plain", "nginx", 20.0), row("plain", "balancer", 90.0)]
    assert missed(rows, ["plain"], {"haproxy": "apt-get install haproxy"}) == [
        "missed: balancer_vs_nginx is 4.5, to be ≤ 1.6"
    ]


def test_notes() -> None:
    """A rate below what the proxy could do, and a disturbed round, are said; one connection saturates nobody."""
    assert row("plain", "envoy", 1.0, util=0.949).notes == ["not saturated"]
    assert row("c1", "envoy", 1.0, util=0.5).notes == []
    assert Row("plain", "x", [a_round(1.0, foreign=0.2), a_round(1.0), a_round(1.0)]).notes == ["foreign load"]


def test_the_table_shows_every_row() -> None:
    """Each row has a line with its figures, its held connections or its error, and each ratio one."""
    text = table([*ALL, Row("c1", "envoy", error="wrk got no answers")])
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "30.0 (29.0–31.0)" in lines["balancer"]
    assert lines["balancer"].endswith("1.50")
    assert "no figure: wrk got no answers" in lines["envoy"]
    assert "3.46" in lines["balancer, one request each"]
    assert lines["refused_vs_admitted_rps"].endswith("5")
