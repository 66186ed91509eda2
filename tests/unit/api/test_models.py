from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from services.api.models import AnswerModel, ApiModel, PlainText, Time, TimeIn, dump, pagination, rfc3339


class Body(ApiModel):
    user_name: PlainText
    count: int = 0
    until: TimeIn | None = None


class Out(AnswerModel):
    made_at: Time


def test_times_are_utc_with_milliseconds() -> None:
    """Whatever zone they came in."""
    at = datetime(2026, 11, 24, 5, 0, 0, 123_999, timezone(timedelta(hours=2)))
    assert rfc3339(at) == "2026-11-24T03:00:00.123Z"
    assert dump(Out(made_at=at)) == {"madeAt": "2026-11-24T03:00:00.123Z"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user_name": "x"},
        {"userName": "x", "id": 1},
        {"userName": 5},
        {"userName": "x", "count": "5"},
        {"userName": "x", "count": True},
        {"userName": "a\tb"},
        {"userName": "x", "until": "2026-11-24T03:00:00"},
    ],
)
def test_bodies_are_strict(body: dict[str, object]) -> None:
    """Missing, unknown and mistyped members, snake_case, control characters, times without zone: all refused."""
    with pytest.raises(ValidationError):
        Body.model_validate(body)


def test_good_body() -> None:
    """camelCase in, snake_case here, times with an offset."""
    body = Body.model_validate({"userName": "\u202eRTL <b>", "until": "2026-11-24T03:00:00Z"})
    assert (body.user_name, body.until) == ("\u202eRTL <b>", datetime(2026, 11, 24, 3, tzinfo=UTC))


def test_pagination() -> None:
    """The last page has no more; an empty list has no pages."""
    assert pagination(2, 10, 21).has_more
    assert not pagination(3, 10, 21).has_more
    assert (pagination(1, 10, 0).total_pages, pagination(1, 10, 0).has_more) == (0, False)
