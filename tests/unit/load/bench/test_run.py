from __future__ import annotations

from tests.load.bench.run import Choice

LANES = ("nginx", "balancer", "gateway")


def names(choice: Choice, scenario: str) -> list[str]:
    return [row.proxy for row, _ in choice.rows(scenario, LANES)]


def test_only_rows_whose_proxy_runs() -> None:
    """A missing peer's rows are left out, the others stay in order."""
    assert names(Choice(("plain",), (), 4), "plain") == ["nginx", "balancer"]
    assert names(Choice(("limited",), (), 4), "limited") == ["gateway", "gateway, default tiers"]


def test_rows_can_be_chosen_by_row_or_by_lane() -> None:
    """For a profile of one proxy."""
    assert names(Choice(("limited",), ("gateway, default tiers",), 4), "limited") == ["gateway, default tiers"]
    assert names(Choice(("idle",), ("balancer",), 4), "idle") == [
        "balancer, nothing sent",
        "balancer, one request each",
    ]
