"""A logged-in client of the admin API, through the platform's own gateway: a one-time link from an api's control port,
then a session.

Used by `keys`, `breakers` and by the demo's admin calls. Answers other than 2xx become CliError by their problem document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import httpx

from services.cli.errors import NOT_FOUND, REFUSED, UNREACHABLE, CliError
from services.cli.output import clean
from services.cli.targets.target import Door, Target, the_one
from services.runtime.http_client import ControlClient, ControlError

TIMEOUT_S = 5.0
CSRF = "x-csrf-token"


Act = Callable[["ApiClient"], Awaitable[Any]]
Through = Callable[[Act], Any]
"""Does something with a client that is logged in, and ends the session."""


class ApiClient:
    """`async with await ApiClient.login(door) as api: await api.call("GET", "/api/v1/keys")`."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the session: commands leave none behind."""
        try:
            await self.http.post("/api/v1/auth/logout")
        except httpx.HTTPError:
            pass
        finally:
            await self.http.aclose()

    @classmethod
    async def login(cls, door: Door) -> Self:
        token = await login_link(door)
        headers = {"origin": door.url}
        api = cls(httpx.AsyncClient(base_url=door.url, timeout=TIMEOUT_S, trust_env=False, headers=headers))
        try:
            body = await api.call("POST", "/api/v1/auth/link", {"token": token})
        except BaseException:
            await api.http.aclose()
            raise
        api.http.headers[CSRF] = str(body["csrfToken"])
        return api

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The decoded answer, None for an empty one."""
        params = {name: value for name, value in query.items() if value is not None}
        try:
            answer = await self.http.request(method, path, json=body, params=params)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise CliError("", "the api cannot be reached", why, "scalable-api status", UNREACHABLE) from None
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise problem(answer)
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise CliError("", "the answer is no JSON", clean(answer.text[:80]), exit_code=UNREACHABLE) from None


def problem(answer: httpx.Response) -> CliError:
    """RFC 9457 into three lines."""
    try:
        body = answer.json()
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    detail = clean(body.get("detail") or body.get("title") or answer.reason_phrase)
    details = [
        f"{d.get('pointer', '')}: {d.get('message', '')}" for d in body.get("details", []) if isinstance(d, dict)
    ]
    why = clean("; ".join(details)) or f"{answer.request.method} {answer.request.url.path}: {answer.status_code}"
    exit_code = {404: NOT_FOUND}.get(answer.status_code, UNREACHABLE if answer.is_server_error else REFUSED)
    return CliError("", detail, why, exit_code=exit_code)


async def login_link(door: Door) -> str:
    """A one-time token from whichever api gives one."""
    last = "no api process is running"
    for url in door.controls:
        async with ControlClient(url, door.token, timeout_s=TIMEOUT_S) as control:
            try:
                return str((await control.request("POST", "/control/v1/login-link"))["token"])
            except ControlError as error:
                last = str(error)
                if error.status == httpx.codes.UNAUTHORIZED:
                    raise CliError("", "the control token is refused", last, "scalable-api check", REFUSED) from None
    raise CliError("", "no api gave a log-in link", last, "scalable-api status", UNREACHABLE)


def through(target: Target, name: str | None) -> Through:
    """Of the platform of the ScalableApi named, or the only one."""

    def done(act: Act) -> Any:
        async def logged_in(door: Door) -> Any:
            async with await ApiClient.login(door) as api:
                return await act(api)

        with target.door(the_one(target, name)) as door:
            return asyncio.run(logged_in(door))

    return done
