"""Refusals into bytes: an RFC 9457 document and its head, spliced from parts that were encoded once (contract.md
section 3).

A refusal must cost less than what it protects: no JSON encoder, no formatting of what never changes. Only `detail`,
`instance` and facts that are not numbers or flags are escaped, by one search that mostly finds nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from services.core.problems import PROBLEMS, ProblemType
from services.core.verdicts import Fact, Facts, Refusal
from services.http1.exchange import Exchange

PROBLEM_BASE_URI: Final = "https://scalableapi.io/problems/"
CONTENT_TYPE: Final = b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n"
_PLAIN: Final = re.compile(rb"[\x20\x21\x23-\x5b\x5d-\x7e]*").fullmatch  # stands in a JSON string as it is
# The engine's own reasons for a 502 or 504 that have a more exact token than the problem type's (RFC 9209 2.3).
PROXY_ERRORS: Final = {
    "connect_failed": "connection_refused",
    "connect_timeout": "connection_timeout",
    "upstream_reset": "connection_terminated",
    "upstream_invalid": "http_protocol_error",
}


class Template:
    """The unchanging parts of one problem type's answers."""

    __slots__ = ("body", "closes", "detail", "lines", "status")

    def __init__(self, problem: ProblemType, via: str, base_uri: str) -> None:
        self.status = problem.status
        self.closes = problem.closes
        self.detail = _text(problem.detail)
        members = {
            "type": problem.uri(base_uri),
            "title": problem.title,
            "status": problem.status,
            "error": problem.error,
            "code": problem.code,
            **({"degraded": True} if problem.degraded else {}),
        }
        self.body = json.dumps(members, separators=(",", ":"))[:-1].encode()
        self.lines: tuple[bytes, ...] = (CONTENT_TYPE,)
        if problem.proxy_error:
            self.lines = (CONTENT_TYPE, proxy_status(via, problem.proxy_error))


def proxy_status(via: str, error: str) -> bytes:
    return f"Proxy-Status: {via}; error={error}\r\n".encode()


class ProblemWriter:
    """`component-instance` stands in Proxy-Status; `base_uri` is PROBLEM_BASE_URI."""

    __slots__ = ("_errors", "_templates")

    def __init__(self, component: str, instance: str, base_uri: str = PROBLEM_BASE_URI) -> None:
        via = f"{component}-{instance}"
        self._templates = {slug: Template(problem, via, base_uri) for slug, problem in PROBLEMS.items()}
        self._errors = {reason: (CONTENT_TYPE, proxy_status(via, error)) for reason, error in PROXY_ERRORS.items()}

    def render(self, x: Exchange, refusal: Refusal) -> tuple[int, list[bytes], bytes]:
        """Status, lines without framing fields, body. Marks the exchange's connection for closing if the type says
        so.
        """
        template = self._templates[refusal.slug]
        x.close = x.close or template.closes
        detail = _text(refusal.detail) if refusal.detail else template.detail
        lines = [*self._errors.get(refusal.reason, template.lines), *refusal.headers]
        body = [
            template.body,
            b',"detail":"%b","message":"%b","instance":"%b","requestId":"%b"'
            % (detail, detail, _raw(x.path), x.request_id),
        ]
        if refusal.retry_after_s is not None:
            lines.append(b"Retry-After: %d\r\n" % refusal.retry_after_s)
            body.append(b',"retryAfter":%d' % refusal.retry_after_s)
        if refusal.facts:
            body.append(_facts(refusal.facts))
        body.append(b"}")
        return template.status, lines, b"".join(body)


def _facts(facts: Mapping[str, Fact]) -> bytes:
    if not isinstance(facts, Facts):
        return _json(facts)
    if not facts.json:
        facts.json = _json(facts)
    return facts.json


def _json(facts: Mapping[str, Fact]) -> bytes:
    return b"".join(b',"%b":%b' % (_text(name), _fact(value)) for name, value in facts.items())


def _fact(value: Fact) -> bytes:
    if isinstance(value, str):
        return b'"%b"' % _text(value)
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, tuple):
        return b"[%b]" % b",".join(b'"%b"' % _text(item) for item in value)
    return repr(value).encode()


def _text(text: str) -> bytes:
    """The inside of a JSON string."""
    raw = text.encode("ascii", "backslashreplace")
    return raw if _PLAIN(raw) is not None and text.isascii() else json.dumps(text)[1:-1].encode()


def _raw(value: bytes) -> bytes:
    """Bytes of a request, which may be anything."""
    return value if _PLAIN(value) is not None else json.dumps(value.decode("latin-1"))[1:-1].encode()
