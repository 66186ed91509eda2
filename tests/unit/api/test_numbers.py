from __future__ import annotations

import pytest

from services.api.numbers import digits, integral


@pytest.mark.parametrize("text", ["", " 1", "1 ", "+1", "1_0", "1.0", "٣", "0x1", "1e3"])
def test_digits_alone(text: str) -> None:
    """Q1: what pydantic would be kind to is refused."""
    with pytest.raises(ValueError, match="whole number"):
        digits(text)


def test_integral() -> None:
    """60.0 is the integer 60; 60.5, infinity and text are left to the validator."""
    assert integral(60.0) == 60
    assert isinstance(integral(60.0), int)
    assert [integral(v) for v in (60.5, "60", float("inf"))] == [60.5, "60", float("inf")]
    assert digits("0012") == "0012"
