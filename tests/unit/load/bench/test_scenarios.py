from __future__ import annotations

from tests.load.bench.ours import TIER_OF
from tests.load.bench.report import BASE, ratios
from tests.load.bench.scenarios import SCENARIOS, Idle, Load


def test_rows_have_names_of_their_own() -> None:
    """Two rows of one name would be one in the report."""
    for name, rows in SCENARIOS.items():
        assert len({row.name for row in rows}) == len(rows), name


def test_loads_use_keys_that_are_made() -> None:
    """Each kind of key has its tier."""
    assert {row.keys for rows in SCENARIOS.values() for row in rows if isinstance(row, Load)} == set(TIER_OF)


def test_the_base_of_a_scenario_is_one_of_its_rows() -> None:
    """×nginx divides by a row that is measured."""
    assert all(base in {row.name for row in SCENARIOS[name]} for name, base in BASE.items())


def test_idle_is_measured_both_ways() -> None:
    """The figure stated is the worse of the two, for us and for nginx."""
    assert {(row.lane, row.asked) for row in SCENARIOS["idle"] if isinstance(row, Idle)} == {
        (lane, asked) for lane in ("nginx", "balancer") for asked in (True, False)
    }
    assert "idle_connection_kib" in ratios([])
