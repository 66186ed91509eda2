"""A route that checks before it works: access rule, CSRF, query names, media type, size, JSON; then FastAPI's own
validation.

The order is the point: nobody learns anything about a body from a route they may not call, and no byte is parsed
before its size is known. JSON is read strictly (reliability.md B1 to B4): a member twice, NaN, an integer beyond 64
bits, nesting over 32 and lone surrogates are refused with a pointer, since two readers could understand them
differently. FastAPI finds the parsed body on the request and validates it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any, Final, NoReturn

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel

from services.api import csrf
from services.api.access import RULES, caller, refusal
from services.api.errors import Detail, Problem, from_validation, invalid

DEPTH_MAX: Final = 32
JSON_LIMIT: Final = 1 << 20
_STRINGS: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE: Final = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
_INT_BOUND: Final = 2**63
_INFINITY: Final = float("inf")


class StrictRoute(APIRoute):
    """app.py makes every route of this class; its rule, CSRF duty and limit travel in `openapi_extra` (`x-access`,
    `x-csrf`, `x-body-limit`).
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()
        extra: dict[str, Any] = self.openapi_extra or {}
        rule, checked, limit = (
            RULES[extra["x-access"]],
            extra.get("x-csrf", True),
            extra.get("x-body-limit", JSON_LIMIT),
        )
        names = query_names(self.dependant)
        model = self.body_field.field_info.annotation if self.body_field else None
        required = self.body_field is not None and self.body_field.field_info.is_required()

        async def handle(request: Request) -> Response:
            who = caller(request)
            if problem := refusal(rule, who):
                raise problem
            if checked and (problem := csrf.refusal(request, who)):
                raise problem
            check_query(request, names)
            if self.body_field is not None:
                await read_json(request, limit, required=required)
            try:
                return await inner(request)
            except RequestValidationError as error:
                raise from_validation(error, sentence_of(model)) from None

        return handle


def query_names(dependant: Dependant) -> dict[str, bool]:
    """Query parameters the route and its dependencies know → whether one may stand several times."""
    names: dict[str, bool] = {}
    for param in dependant.query_params:
        annotation = param.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            names |= {f.alias or name: False for name, f in annotation.model_fields.items()}
        else:
            names[param.alias] = getattr(annotation, "__origin__", annotation) in {list, set, tuple}
    for inner in dependant.dependencies:
        names |= query_names(inner)
    return names


def check_query(request: Request, names: dict[str, bool]) -> None:
    """Raises for a parameter nobody reads, or one that stands twice: either hides a mistake."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in names:
            raise invalid(Detail(f"?{name}", "there is no such parameter here", "unknown"))
        if name in seen and not names[name]:
            raise invalid(Detail(f"?{name}", "must stand once", "duplicate"))
        seen.add(name)


async def read_json(request: Request, limit: int, *, required: bool) -> None:
    """Reads, bounds and parses the body; the result stays on the request, where FastAPI's own reading finds it."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        too_large(limit)
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > limit:
            too_large(limit)
    body = bytes(chunks)
    if body or required:
        check_media_type(request)
        request._json = parse(body)
    request._body = body


def too_large(limit: int) -> NoReturn:
    raise Problem("content-too-large", f"The body may have {limit} bytes.", limit=limit)


def check_media_type(request: Request) -> None:
    """Only plain `application/json` in UTF-8: a compressed body could be a bomb, another charset another meaning."""
    if "content-encoding" in request.headers:
        raise Problem("unsupported-media-type", "A compressed body is not accepted.")
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    charset = header.get_param("charset")
    if header.get_content_type() != "application/json" or not request.headers.get("content-type"):
        raise Problem("unsupported-media-type", "Content-Type must be application/json.")
    if charset is not None and str(charset).lower() not in {"utf-8", "utf8"}:
        raise Problem("unsupported-media-type", "The charset must be UTF-8.")


def parse(body: bytes) -> Any:
    """The JSON value of `body`; raises a Problem for what is no JSON, or ambiguous JSON."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem("invalid-json", "The body is not UTF-8.", offset=error.start) from None
    check_depth(text)
    doubtful = _SURROGATE.search(text) is not None

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubtful
        found = dict(members)
        doubtful |= len(found) != len(members)
        return found

    def doubt(token: str) -> float:
        nonlocal doubtful
        value = float(token)
        doubtful |= not -_INFINITY < value < _INFINITY
        return value

    def integer(token: str) -> int:
        nonlocal doubtful
        if len(token) > 20:  # int() of a long one costs its square
            doubtful = True
            return 0
        value = int(token)
        doubtful |= not -_INT_BOUND <= value < _INT_BOUND
        return value

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=doubt, parse_float=doubt, parse_int=integer)
    except json.JSONDecodeError as error:
        raise Problem("invalid-json", f"The body is not JSON: {error.msg}.", offset=error.pos) from None
    if doubtful:
        explain(
            json.loads(
                text, object_pairs_hook=_Members, parse_constant=_Number, parse_float=_Number, parse_int=_Number
            ),
            "",
        )
    return value


def check_depth(text: str) -> None:
    """Before the parser, whose recursion is the interpreter's stack."""
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return
    depth = 0
    for mark in re.finditer(r"[\[{\]}]", _STRINGS.sub("", text)):
        depth += 1 if mark[0] in "[{" else -1
        if depth > DEPTH_MAX:
            raise invalid(Detail("", f"nests deeper than {DEPTH_MAX} levels", "depth"))


class _Members(list[tuple[str, Any]]):
    """An object as its members in order, so that a repeated one shows."""


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def explain(value: Any, pointer: str) -> None:
    """Finds what made `parse` doubt and raises it with its pointer; returns if the doubt was unfounded (an escaped
    pair).
    """
    if isinstance(value, _Members):
        names: set[str] = set()
        for name, inner in value:
            here = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            check_text(name, pointer)
            if name in names:
                raise invalid(Detail(here, "stands twice", "duplicate"))
            names.add(name)
            explain(inner, here)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            explain(inner, f"{pointer}/{at}")
    elif isinstance(value, _Number):
        number = float(value)
        whole = value.lstrip("-").isdecimal()
        if not -_INFINITY < number < _INFINITY or (whole and not -_INT_BOUND <= int(value[:21]) < _INT_BOUND):
            raise invalid(Detail(pointer, "is not a finite number of 64 bits", "number"))
    elif isinstance(value, str):
        check_text(value, pointer)


def check_text(text: str, pointer: str) -> None:
    if "\0" in text or any(0xD800 <= ord(c) < 0xE000 for c in text):
        raise invalid(Detail(pointer, "holds NUL or a lone surrogate, which is no character", "text"))


def sentence_of(model: Any) -> str:
    """The old system's sentence for a body of this model whose members are missing."""
    return getattr(model, "sentence", "")
