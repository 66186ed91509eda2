from __future__ import annotations

from services.core.credentials import make_key, parse_key
from services.schema.tiers import document, parse, render
from tests.load.bench.ours import COLUMNS, TIER_OF, _row, tiers


def test_the_tiers_are_a_document_that_processes_take() -> None:
    """It reads back equal, and every kind of key has its tier in it."""
    made = document(1, tiers())
    assert parse(render(made)) == made
    assert set(TIER_OF.values()) <= {tier.name for tier in made.spec.tiers}


def test_the_limited_row_has_one_sliding_policy_and_the_default_one_two() -> None:
    """As the peers have one; `tiers` is a built-in tier, untouched."""
    by_name = {tier.name: tier.policies for tier in tiers().tiers}
    assert [policy.algorithm for policy in by_name[TIER_OF["limited"]]] == ["sliding"]
    assert [policy.algorithm for policy in by_name[TIER_OF["tiers"]]] == ["sliding", "gcra"]


def test_a_key_becomes_a_row_of_its_table() -> None:
    """In the columns' order, with the key's own id, and no key in it."""
    key = make_key("test", bytes(10), bytes(32))
    row = dict(zip(COLUMNS, _row(key, "pro", 1, b"p" * 32), strict=True))
    found = parse_key(key.encode())
    assert found is not None
    assert (row["id"], row["tier"], row["env"], row["pepper_id"]) == (found.id, "pro", "test", 1)
    assert key not in map(str, row.values())
