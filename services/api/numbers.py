"""Whole numbers as they come in: digits in a query, a JSON number without a fraction in a body."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator


def digits(value: object) -> object:
    """For a query: pydantic itself would take `1_0`, ` 1` and `1.0`. Raises ValueError."""
    if isinstance(value, str) and not (value.isascii() and value.isdecimal()):
        raise ValueError("must be a whole number")
    return value


def integral(value: object) -> object:
    """For a body: JSON has one kind of number, and `60.0` is the integer 60 (JSON Schema says so)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


QueryInteger = BeforeValidator(digits)
"""In the annotation of a query parameter, after its bounds."""
Integer = BeforeValidator(integral)
"""In the annotation of a body's member, after its bounds."""
Whole = Annotated[int, Integer]
