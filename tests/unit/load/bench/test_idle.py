from __future__ import annotations

import pytest

from tests.load.bench.idle import count


@pytest.mark.parametrize(("descriptors", "number"), [(20_000, 10_000), (10_500, 10_000), (4096, 3596), (256, 0)])
def test_descriptors_bound_the_connections(descriptors: int, number: int) -> None:
    """Ten thousand, or what is left beside everything else."""
    assert count(descriptors) == number
