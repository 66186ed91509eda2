"""A small client of the API server: one kept-alive connection, dicts in, answers out. Refusals are answers, not exceptions.

Callers: tests/cluster.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from typing import Any, Self

import httpx

Object = dict[str, Any]
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class Client:
    """`ask` returns whatever the server said, `do` only what it agreed to."""

    def __init__(self, url: str, token: str, authority: ssl.SSLContext) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=headers, verify=authority, trust_env=False, timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._http.close()

    def ask(
        self, method: str, path: str, body: Object | None = None, *, kind: str = "application/json", **query: Any
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": kind}
        return self._http.request(method, path, content=content, headers=headers, params=query)

    def do(
        self, method: str, path: str, body: Object | None = None, *, kind: str = "application/json", **query: Any
    ) -> Object:
        answer = self.ask(method, path, body, kind=kind, **query)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        found: Object = answer.json()
        return found

    def watch(self, path: str, until: Callable[[Object], bool], within_s: int, **query: Any) -> Object:
        """The first object of the watch's events that `until` likes."""
        query |= {"watch": "true", "timeoutSeconds": within_s}
        last: Object = {}
        with self._http.stream("GET", path, params=query, timeout=within_s + 5) as events:
            for line in events.iter_lines():
                last = json.loads(line)["object"]
                if until(last):
                    return last
        raise AssertionError(f"not within {within_s} s on {path}; last seen: {last}")


def scalable_apis(namespace: str, name: str = "", subresource: str = "") -> str:
    """The path of a namespace's ScalableApis, of one, or of its `status` or `scale`."""
    parts = ("/apis/scalableapi.io/v1/namespaces", namespace, "scalableapis", name, subresource)
    return "/".join(filter(None, parts))
