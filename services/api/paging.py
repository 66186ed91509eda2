"""`?page=&limit=` of every paged list: what is let in, and how far a reader may go (contract.md section 1)."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Query
from pydantic import Field

from services.api.errors import Detail, invalid
from services.api.numbers import QueryInteger

REACH: Final = 10_000  # page times limit: beyond it OFFSET costs more than any reader wants to pay


Number = Annotated[int, Field(ge=1, le=REACH), QueryInteger, Query(description="1 is the first page")]
Limit = Annotated[int, Field(ge=1, le=100), QueryInteger, Query(description="entries per page")]


def paging(page: Number = 1, limit: Limit = 10) -> tuple[int, int]:
    """Page and limit; raises 400 beyond the reach."""
    if page * limit > REACH:
        raise invalid(Detail("?page", f"page times limit must be at most {REACH}", "range"))
    return page, limit


Paging = Annotated[tuple[int, int], Depends(paging)]
