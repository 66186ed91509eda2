from __future__ import annotations

import pytest

from tests.load.bench.idle import count


@pytest.mark.parametrize(("descriptors", "number"), [(1 << 20, 8_900), (20_000, 8_843), (4096, 1686), (256, 0)])
def test_descriptors_bound_the_connections(descriptors: int, number: int) -> None:
    """As many as a proxy of ours holds without letting idle ones go, and as are left beside everything else."""
    assert count(descriptors) == number
