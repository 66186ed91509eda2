"""Outgoing HTTP of the control plane: one httpx factory, and a typed client of every process's control port
(contract.md 1.11).

Users: controller (polls, pushes tiers, drains), the api's fleet view, the CLI, endpoint_slices.py, tests. Never gateway traffic. Answers
are values or one exception, `ControlError`, which tells a refusal (status) from a process that is not there (status
0).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final, Self

import httpx
import msgspec

from services.runtime.tiers import Ack
from services.schema import snapshot as snapshots
from services.schema.snapshot import Snapshot

TIMEOUT_S: Final = 1.0  # a control port answers in 250 ms at ten times overload (P18)
JSON: Final = {"content-type": "application/json"}


class ControlError(Exception):
    """A control port refused (`status`, `errors`) or did not answer (`status` 0)."""

    def __init__(self, url: str, status: int, errors: tuple[str, ...]) -> None:
        super().__init__(f"{url}: {status or 'no answer'}: {'; '.join(errors)}")
        self.url, self.status, self.errors = url, status, errors

    @property
    def unreachable(self) -> bool:
        return self.status == 0


def client(
    *, timeout_s: float = TIMEOUT_S, base_url: str = "", connections: int = 100, verify: ssl.SSLContext | bool = True
) -> httpx.AsyncClient:
    """An httpx client with bounded everything: no redirects, no proxies of the environment, no cookies kept."""
    return httpx.AsyncClient(
        base_url=base_url,
        verify=verify,
        timeout=httpx.Timeout(timeout_s),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=30),
        follow_redirects=False,
        trust_env=False,
    )


class ControlClient:
    """One process's control port. Pass `http` to share connections over many; then closing it is the caller's."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        http: httpx.AsyncClient | None = None,
        epoch: int | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.url = url.rstrip("/")
        self._http, self._own = http or client(timeout_s=timeout_s), http is None
        self._timeout_s = timeout_s
        self._headers = {"authorization": f"Bearer {token}"} | (
            {"x-controller-epoch": str(epoch)} if epoch is not None else {}
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._own:
            await self._http.aclose()

    async def ready(self) -> bool:
        try:
            return (await self._http.get(f"{self.url}/readyz", timeout=self._timeout_s)).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    async def snapshot(self) -> Snapshot:
        answer = await self._call("GET", "/control/v1/snapshot")
        try:
            return snapshots.decode(answer.content)
        except msgspec.DecodeError as error:
            raise ControlError(self.url, 0, (f"not a snapshot: {error}",)) from None

    async def push_tiers(self, raw: bytes) -> Ack:
        """What is enforced now. ControlError 409: older, or another hash; 422: `errors` tell what is wrong."""
        body = (await self._call("PUT", "/control/v1/tiers", raw, {"content-type": "application/yaml"})).json()
        return Ack(int(body["revision"]), str(body["hash"]))

    async def drain(self, on: bool, timeout_s: float = 60) -> tuple[bool, int]:
        """(draining, in flight) after the call."""
        body = await self.request("POST", "/control/v1/drain", {"on": on, "timeoutSeconds": timeout_s})
        return bool(body["draining"]), int(body["inFlight"])

    async def explain(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return await self._object("POST", "/control/v1/explain", request)

    async def breakers(self) -> dict[str, Any]:
        return await self._object("GET", "/control/v1/breakers")

    async def endpoints(self) -> dict[str, Any]:
        return await self._object("GET", "/control/v1/endpoints")

    async def metrics(self) -> str:
        return (await self._call("GET", "/metrics")).text

    async def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Any route of the control port: its decoded JSON, None for an empty answer."""
        raw = msgspec.json.encode(body) if body is not None else None
        answer = await self._call(method, path, raw, JSON if raw is not None else {})
        return answer.json() if answer.content else None

    async def _object(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = await self.request(method, path, body)
        if not isinstance(answer, dict):
            raise ControlError(self.url, 0, (f"{path}: not an object",))
        return answer

    async def _call(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        try:
            answer = await self._http.request(
                method,
                self.url + path,
                content=content,
                headers={**self._headers, **(headers or {})},
                timeout=self._timeout_s,
            )
        except httpx.HTTPError as error:
            raise ControlError(self.url, 0, (str(error) or type(error).__name__,)) from None
        if answer.status_code >= httpx.codes.MULTIPLE_CHOICES:
            raise ControlError(self.url, answer.status_code, _errors(answer))
        return answer


def _errors(answer: httpx.Response) -> tuple[str, ...]:
    try:
        body = answer.json()
    except ValueError:
        return (answer.text[:200],)
    if isinstance(body, dict) and isinstance(found := body.get("errors", body.get("detail")), list | str):
        return tuple(str(error) for error in found) if isinstance(found, list) else (found,)
    return (str(body)[:200],)
