"""The API server, asked with dicts: five verbs, answers as values, every request counted.

aiohttp alone, which kopf brings: the official client loads 13 MiB of models for its first call (130 with its typed
classes), and its defaults are a strategic merge that custom resources refuse and five minutes of patience. So the
content type and the timeout are always given here. A refusal is an `Answer`; no answer is one with code 0.

Callers: lease, backend, compare.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import kopf
import msgspec

from services.controller.backend import Conflict, Denied, Done, Gone, Outcome, RetryAfter

Object = dict[str, Any]
Meta = Mapping[str, str]
"""The members `KEPT` of an object's metadata."""
TIMEOUT_S: Final = 10.0
KEPT: Final = ("namespace", "name", "uid", "resourceVersion")
PAGE: Final = 250
CONNECTIONS: Final = 100
TOKEN_S: Final = 60.0
"""A mounted token is replaced well before its end: reading it once a minute is enough, and once more when it is refused."""
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
JSON: Final = "application/json"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said; `retry_after_s` 0: nothing about when."""

    code: int
    body: Object = field(default_factory=dict)
    retry_after_s: float = 0.0

    @property
    def ok(self) -> bool:
        return 200 <= self.code < 300

    @property
    def message(self) -> str:
        return str(self.body.get("message", "")) or f"code {self.code}"


@dataclass(frozen=True, slots=True)
class Place:
    """A resource, one object of it, or a subresource. `group` is '' for the core; `namespace` '' for all of them."""

    group: str
    version: str
    resource: str
    namespace: str = ""
    name: str = ""
    sub: str = ""

    @property
    def path(self) -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{self.namespace}" if self.namespace else ""
        return "/".join(filter(None, (f"{root}{scope}/{self.resource}", self.name, self.sub)))

    @property
    def called(self) -> str:
        """As RBAC calls it."""
        return f"{self.resource}/{self.sub}" if self.sub else self.resource


class Kube:
    """One connection pool. `login` is asked for the token again each minute; `agent` is what an audit log shows."""

    def __init__(
        self,
        login: Callable[[], kopf.ConnectionInfo],
        *,
        agent: str = "scalable-api-operator",
        count: Callable[[str, str, str], object] = lambda _verb, _resource, _code: None,
    ) -> None:
        self._login, self._count = login, count
        info = login()
        self._token, self._token_at = info.token or "", time.monotonic()
        self._url = str(info.server).rstrip("/")
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=_trusted(info))
        self._http = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": agent}
        )

    async def close(self) -> None:
        await self._http.close()

    async def get(self, place: Place, *, timeout_s: float = TIMEOUT_S) -> Answer:
        return await self._ask("get", "GET", place, timeout_s=timeout_s)

    async def list_metadata(self, place: Place, selector: str = "") -> list[Meta] | None:
        """Of those that a label selector admits; None without an answer. Page by page: a page is parsed whole, with
        all that the server says of who wrote which field.
        """
        found: list[Meta] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            answer = await self._ask("list", "GET", place, accept=METADATA_ONLY, query=query)
            if not answer.ok:
                return None
            found += [{key: item["metadata"].get(key, "") for key in KEPT} for item in answer.body.get("items") or ()]
            query["continue"] = (answer.body.get("metadata") or {}).get("continue", "")
            if not query["continue"]:
                return found

    async def create(self, place: Place, body: Object, *, manager: str, timeout_s: float = TIMEOUT_S) -> Answer:
        return await self._ask("create", "POST", place, body, query={"fieldManager": manager}, timeout_s=timeout_s)

    async def update(self, place: Place, body: Object, *, manager: str, timeout_s: float = TIMEOUT_S) -> Answer:
        """Replaces; `body` carries the resourceVersion it was read at."""
        return await self._ask("update", "PUT", place, body, query={"fieldManager": manager}, timeout_s=timeout_s)

    async def merge(self, place: Place, body: Object, *, manager: str) -> Answer:
        """JSON merge patch: null removes a member."""
        return await self._ask("patch", "PATCH", place, body, kind=MERGE, query={"fieldManager": manager})

    async def apply(self, place: Place, body: Object, *, manager: str) -> Answer:
        """Server-side apply, forced: what `body` names is ours afterwards, what it named before and not now is gone."""
        query = {"fieldManager": manager, "force": "true"}
        return await self._ask("patch", "PATCH", place, body, kind=APPLY, query=query)

    async def _ask(
        self,
        verb: str,
        method: str,
        place: Place,
        body: Object | None = None,
        *,
        kind: str = JSON,
        accept: str = JSON,
        query: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        headers = {"Accept": accept, "Content-Type": kind}
        data = msgspec.json.encode(body) if body is not None else None

        async def send(token: str) -> Answer:
            sent = headers | {"Authorization": f"Bearer {token}"}
            try:
                async with (
                    asyncio.timeout(timeout_s),
                    self._http.request(method, self._url + place.path, params=query, data=data, headers=sent) as heard,
                ):
                    raw = await heard.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._count(verb, place.called, "none")
                return Answer(0, {"message": f"{verb} {place.path}: {error or type(error).__name__}"})
            self._count(verb, place.called, str(heard.status))
            return Answer(heard.status, _decoded(raw), _seconds(heard.headers.get("Retry-After")))

        used = self._bearer()
        answer = await send(used)
        if answer.code == 401 and (token := self._read_token()) != used:
            answer = await send(token)
        return answer

    def _bearer(self) -> str:
        return self._read_token() if time.monotonic() - self._token_at >= TOKEN_S else self._token

    def _read_token(self) -> str:
        self._token, self._token_at = self._login().token or "", time.monotonic()
        return self._token


def outcome(answer: Answer, verb: str, place: Place) -> Outcome:
    """The backend's word for an answer to a write."""
    if answer.ok:
        return Done()
    if answer.code == 409:
        return Conflict()
    if answer.code == 404:
        return Gone()
    if answer.code in {400, 403, 422}:
        return Denied(f"{verb} {place.called}: {answer.message}")
    return RetryAfter(answer.retry_after_s)


def _trusted(info: kopf.ConnectionInfo) -> ssl.SSLContext:
    """Whom we believe, and who we are."""
    with (
        _file(info.ca_path, info.ca_data) as authority,
        _file(info.certificate_path, info.certificate_data) as certificate,
        _file(info.private_key_path, info.private_key_data) as key,
    ):
        context = ssl.create_default_context(cafile=authority)
        if certificate:
            context.load_cert_chain(certificate, key)
    if info.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@contextlib.contextmanager
def _file(path: str | bytes | os.PathLike[Any] | None, data: str | bytes | None) -> Iterator[str | None]:
    """OpenSSL loads a client's certificate from files alone; one of ours is gone when the client is made."""
    if not data:
        yield os.fsdecode(path) if path else None
        return
    with tempfile.NamedTemporaryFile() as made:
        made.write(base64.b64decode(data))
        made.flush()
        yield made.name


def _decoded(raw: bytes) -> Object:
    try:
        found = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return {"message": raw[:200].decode(errors="replace")}
    return found if isinstance(found, dict) else {}


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 0.0
