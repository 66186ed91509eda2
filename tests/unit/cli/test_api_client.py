"""The logged-in client, against a fake api in the same process."""

from __future__ import annotations

import httpx
import pytest

from services.cli.api_client import ApiClient, problem
from services.cli.errors import NOT_FOUND, REFUSED, UNREACHABLE, CliError


def answering(status: int, **options: object) -> ApiClient:
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, request=request, **options)  # type: ignore[arg-type]

    return ApiClient(httpx.AsyncClient(base_url="http://api", transport=httpx.MockTransport(handle)))


@pytest.mark.parametrize(("status", "code"), [(404, NOT_FOUND), (409, REFUSED), (403, REFUSED), (503, UNREACHABLE)])
async def test_problems_become_three_lines(status: int, code: int) -> None:
    """A problem document's detail is the first line, its details the second; the exit code says whose fault it is."""
    body = {"detail": "Key limit\x1b[2J reached", "details": [{"pointer": "/name", "message": "too long"}]}
    async with answering(status, json=body) as api:
        with pytest.raises(CliError) as failed:
            await api.call("POST", "/api/v1/keys", {})
    assert failed.value.what == "Key limit\\x1b[2J reached"
    assert (failed.value.why, failed.value.exit_code) == ("/name: too long", code)


async def test_an_empty_answer_is_none() -> None:
    """204 has no body."""
    async with answering(204) as api:
        assert await api.call("DELETE", "/api/v1/keys/1") is None


async def test_l2_html_is_no_traceback() -> None:
    """L2: an answer that is no JSON says so, exit 5."""
    async with answering(200, text="<html>") as api:
        with pytest.raises(CliError, match="no JSON") as failed:
            await api.call("GET", "/api/v1/keys")
    assert failed.value.exit_code == UNREACHABLE


async def test_unreachable() -> None:
    """A connection that fails is exit 5 with the reason."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with ApiClient(httpx.AsyncClient(base_url="http://api", transport=httpx.MockTransport(refuse))) as api:
        with pytest.raises(CliError, match="cannot be reached") as failed:
            await api.call("GET", "/")
    assert (failed.value.exit_code, failed.value.why) == (UNREACHABLE, "refused")


def test_a_problem_without_a_body() -> None:
    """A bare status still names the request."""
    answer = httpx.Response(502, request=httpx.Request("GET", "http://api/x"), text="oops")
    assert problem(answer).why == "GET /x: 502"
