from __future__ import annotations

import pytest

from services.api.errors import Problem
from services.api.paging import paging


def test_reach() -> None:
    """page times limit may be 10 000; one more is a 400 that names the parameter."""
    assert paging(100, 100) == (100, 100)
    with pytest.raises(Problem) as refused:
        paging(101, 100)
    assert refused.value.facts["details"][0]["pointer"] == "?page"
