from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from services.api.models import AnswerModel, ApiModel, PlainText, Time, TimeIn, dump, pagination, rfc3339
from services.api.routes.keys import ChangeKey


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
    assert rfc3339(datetime(987, 1, 2, 3, 4, 5, tzinfo=UTC)) == "0987-01-02T03:04:05.000Z"  # RFC 3339: four digits


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
        {"userName": "a\n"},
        {"userName": "a\x85"},
        {"userName": "x", "until": "2026-11-24T03:00:00"},
        {"userName": "x", "until": "9999-12-31T23:59:59-23:00"},
        {"userName": "x", "until": "0001-01-01T00:00:00+02:00"},
    ],
)
def test_bodies_are_strict(body: dict[str, object]) -> None:
    """Missing, unknown and mistyped members, snake_case, control characters, times without zone or beyond the
    calendar: all refused.
    """
    with pytest.raises(ValidationError):
        Body.model_validate(body)


def test_plain_text_is_documented() -> None:
    """The schema refuses what the validator refuses, also where a member may be null."""
    schema = ChangeKey.model_json_schema()["properties"]["name"]["anyOf"][0]
    assert (schema["minLength"], schema["maxLength"]) == (1, 100)
    for text, fits in (
        ("a b", True),
        ("é \u202e", True),
        ("a\n", False),
        ("\x00", False),
        ("\x7f", False),
        ("\x9f", False),
    ):
        assert (re.fullmatch(schema["pattern"], text) is not None) is fits


def test_good_body() -> None:
    """camelCase in, snake_case here, times with an offset."""
    body = Body.model_validate({"userName": "\u202eRTL <b>", "until": "2026-11-24T03:00:00Z"})
    assert (body.user_name, body.until) == ("\u202eRTL <b>", datetime(2026, 11, 24, 3, tzinfo=UTC))


def test_pagination() -> None:
    """The last page has no more; an empty list has no pages."""
    assert pagination(2, 10, 21).has_more
    assert not pagination(3, 10, 21).has_more
    assert (pagination(1, 10, 0).total_pages, pagination(1, 10, 0).has_more) == (0, False)
