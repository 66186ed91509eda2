"""What requests and answers are made of: camelCase on the wire, snake_case here, nothing unknown let in, nothing
unnamed let out.

`ApiModel` is for bodies (strict: `"5"` is no number, unknown members are refused); `AnswerModel` is for what goes
out: an allow-list of members. Used by every route module.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel


def rfc3339(at: datetime) -> str:
    """UTC with milliseconds: `2026-11-24T03:53:00.120Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be within the years 1 to 9999 in UTC") from None


_PLAIN: Final = r"^[^\u0000-\u001f\u007f-\u009f]*$"


def _plain(text: str) -> str:
    if re.fullmatch(_PLAIN, text) is None:
        raise ValueError("control characters are not allowed")
    return text


_TIME_SCHEMA = {"type": "string", "format": "date-time"}
Time = Annotated[
    datetime, PlainSerializer(rfc3339, return_type=str), WithJsonSchema(_TIME_SCHEMA, mode="serialization")
]
"""A point in time in an answer."""
TimeIn = Annotated[AwareDatetime, Strict(strict=False), AfterValidator(_utc)]
"""A point in time in a body: RFC 3339 with an offset."""
PlainText = Annotated[str, AfterValidator(_plain), Field(json_schema_extra={"pattern": _PLAIN})]
"""One line for people: no control characters (they would end up in logs and terminals)."""


class ApiModel(BaseModel):
    """A request's body. `sentence` is the old system's text for a body whose members are missing; empty: the general
    one.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=False,
        validate_by_alias=True,
        extra="forbid",
        strict=True,
        frozen=True,
    )
    sentence: ClassVar[str] = ""


class AnswerModel(BaseModel):
    """An answer's body, made with snake_case names, sent with camelCase ones."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True, extra="forbid"
    )


class User(AnswerModel):
    """`user` wherever an answer has one."""

    id: str
    email: str
    role: str
    tier: str


class Message(AnswerModel):
    """A sentence for people."""

    message: str


class Pagination(AnswerModel):
    """Where a page stands in its list."""

    page: int
    limit: int
    total: int
    total_pages: int
    has_more: bool


def pagination(page: int, limit: int, total: int) -> Pagination:
    pages = math.ceil(total / limit)
    return Pagination(page=page, limit=limit, total=total, total_pages=pages, has_more=page < pages)


def dump(model: BaseModel) -> dict[str, Any]:
    """The JSON members of an answer, as FastAPI would send them."""
    return model.model_dump(mode="json", by_alias=True)
