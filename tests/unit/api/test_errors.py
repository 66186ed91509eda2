from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from redis.exceptions import ConnectionError as RedisConnectionError
from starlette.exceptions import HTTPException

from services.api.db import OutcomeUnknownError, UnavailableError
from services.api.errors import Detail, Problem, document, from_exception, from_validation, invalid, pointer, render

BASE = "https://scalableapi.io/problems/"


class Body(BaseModel):
    name: Annotated[str, Field(max_length=3)]
    tags: list[int] = []


def validation(value: Any) -> RequestValidationError:
    try:
        Body.model_validate(value)
    except ValidationError as error:
        return RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in error.errors()])
    raise AssertionError


def test_document_has_all_members() -> None:
    """contract.md 3: the new members and the old ones in one object, message = detail."""
    found = document(Problem("forbidden", "No.", error="Admin access required", extra=1), BASE, "/x", "r1")
    assert found == {
        "type": BASE + "forbidden",
        "title": "Forbidden",
        "status": 403,
        "detail": "No.",
        "message": "No.",
        "error": "Admin access required",
        "code": "FORBIDDEN",
        "instance": "/x",
        "requestId": "r1",
        "extra": 1,
    }


def test_registered_types_and_retry() -> None:
    """IANA's types have IANA's address; those that say when to come back say it twice; a degraded one says so."""
    limited = Problem("abnormal-usage-detected", retry_after_s=7, violated=["login-pair"])
    assert document(limited, BASE, "/", "")["type"].startswith("https://iana.org/")
    assert (limited.headers["Retry-After"], limited.facts["retryAfter"]) == ("7", 7)
    assert limited.facts["violated-policies"] == ["login-pair"]
    down = Problem("dependency-unavailable", dependency="redis")
    assert (down.headers["Retry-After"], down.facts["degraded"]) == ("1", True)
    assert Problem("content-too-large").headers == {"Connection": "close"}


def test_render() -> None:
    """application/problem+json, UTF-8 as it is."""
    answer = render(Problem("not-found", "Nö."), BASE, "/", "r")
    assert answer.media_type == "application/problem+json"
    assert "Nö." in bytes(answer.body).decode()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Problem("conflict"), 409, "CONFLICT"),
        (HTTPException(404), 404, "NOT_FOUND"),
        (UnavailableError(""), 503, "DEPENDENCY_DOWN"),
        (OutcomeUnknownError(""), 503, "DEPENDENCY_DOWN"),
        (RedisConnectionError(""), 503, "DEPENDENCY_DOWN"),
        (KeyError("sql: SELECT secret"), 500, "INTERNAL"),
        (validation({}), 400, "VALIDATION_FAILED"),
    ],
)
def test_everything_becomes_an_answer(error: Exception, status: int, code: str) -> None:
    """And none of it carries the exception's own words."""
    problem = from_exception(error, FastAPI(), {"path": "/x"})
    assert (problem.status, problem.type.code) == (status, code)
    assert "SELECT" not in json.dumps(document(problem, BASE, "/", ""))


def test_allow_lists_all_methods_of_the_path() -> None:
    """Of every route there, HEAD beside GET."""
    app = FastAPI(openapi_url=None)
    for method in ("GET", "POST"):
        app.router.add_api_route("/x/{id}", lambda: None, methods=[method])
    scope = {"type": "http", "method": "PUT", "path": "/x/1", "root_path": "", "headers": []}
    problem = from_exception(HTTPException(405), app, scope)
    assert (problem.headers["Allow"], problem.facts["allow"]) == ("GET, HEAD, POST", ["GET", "HEAD", "POST"])


def test_validation_points_at_the_place() -> None:
    """A JSON pointer each; the old sentence only where something is missing."""
    assert (
        from_validation(validation({"name": "long", "tags": [1, "x"]}), "Old").facts["details"][1]["pointer"]
        == "/tags/1"
    )
    assert from_validation(validation({"name": "long"}), "Old").error == "Validation failed"
    assert from_validation(validation({}), "Old").error == "Old"
    assert (
        from_validation(RequestValidationError([{"type": "json_invalid", "loc": ("body", 0), "msg": ""}])).slug
        == "invalid-json"
    )


def test_pointer() -> None:
    """RFC 6901 escapes; query parameters by name."""
    assert pointer(("body", "a/b", "c~d", 0)) == "/a~1b/c~0d/0"
    assert pointer(("query", "page")) == "?page"
    assert pointer(("body",)) == ""


def test_invalid_speaks_of_the_first_place() -> None:
    """In a sentence for people."""
    assert invalid(Detail("/name", "is too long", "x"), Detail("/b", "c", "d")).detail == "name: is too long"
    assert invalid(Detail("", "is empty", "x")).detail == "The body is empty."
