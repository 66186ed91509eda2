"""What a malformed message is answered with: every refusal the engine itself makes, and llhttp's reasons mapped to
them.

`reason` is the metric's label and says what was wrong; `slug` picks status and texts (core/problems.py). A test pins
llhttp's texts.
"""

from __future__ import annotations

import re
from typing import Final

from services.core.verdicts import Answer, Refusal

ALLOW: Final = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
OPTIONS_STAR: Final = Answer(204, (ALLOW,))


class RefusedError(Exception):
    """Raised inside a parser callback to stop the parser: carries what the request is answered with."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def bad(reason: str, detail: str = "", slug: str = "bad-request") -> Refusal:
    return Refusal(slug, reason, detail, close=True)


LINE_TOO_LONG: Final = bad("request-line", slug="uri-too-long")
HEAD_TOO_LARGE: Final = bad("head-size", slug="header-fields-too-large")
TOO_MANY_FIELDS: Final = bad("head-fields", slug="header-fields-too-large")
TRAILERS_TOO_LARGE: Final = bad("trailers", "The trailers are too large.", "header-fields-too-large")
UNDERSCORE: Final = bad("underscore", "A field name has an underscore.")
BODY_TOO_LARGE: Final = bad("body-size", slug="content-too-large")
CHUNK_EXTENSION: Final = bad("chunk-extension", "A chunk extension is too long.")
CHUNK_FRAMING: Final = bad("chunk-framing", "The body is cut into too many pieces.")
LENGTH_MALFORMED: Final = bad("content-length", "Content-Length is malformed.")
CODING_MALFORMED: Final = bad("transfer-encoding", "Transfer-Encoding is malformed.")
CODING_UNKNOWN: Final = bad("transfer-encoding", "Only chunked is spoken here.", "not-implemented")
HOST_MALFORMED: Final = bad("host", "Host is missing, repeated or malformed.")
CONNECTION_NAMES_FRAMING: Final = bad("connection", "Connection names a field that frames the message.")
STAR_WITHOUT_OPTIONS: Final = bad("target-form", "Only OPTIONS has the target *.")
METHOD_UNKNOWN: Final = bad("method", "The method is not known here.", "not-implemented")
METHOD_MALFORMED: Final = bad("method", "The request does not begin with a method.")
VERSION_MALFORMED: Final = bad("version", "This is not HTTP/1.1.")
VERSION_UNKNOWN: Final = bad("version", slug="version-not-supported")
REPEATED: Final = bad("repeated-field", "A field that may come once came twice.")
EXPECTATION: Final = Refusal("expectation-failed", "expect")
LOOP: Final = Refusal("loop-detected", "loop")
EARLY_BYTES: Final = bad("early-bytes", "Bytes came before the upgrade was agreed to.")
HEAD_SLOW: Final = bad("head-timeout", "The head did not arrive in time.", "request-timeout")
BODY_SLOW: Final = bad("body-timeout", "The body arrives too slowly.", "request-timeout")
INTERNAL: Final = Refusal("internal-error", "internal")
DEADLINE: Final = Refusal("gateway-timeout", "deadline")

PARSER: Final = {
    "Pause on PRI/Upgrade": VERSION_UNKNOWN,  # the preface of HTTP/2
    "Invalid HTTP version": VERSION_UNKNOWN,  # digits, but none of 0.9, 1.0, 1.1, 2.0
    "Invalid method encountered": METHOD_MALFORMED,  # `unknown_method` looks closer
    "Expected space after method": METHOD_MALFORMED,
    "Invalid method for HTTP/x.x request": METHOD_UNKNOWN,
    "Invalid method for RTSP/x.x request": METHOD_UNKNOWN,
    "Expected SOURCE method for ICE/x.x request": METHOD_UNKNOWN,
}
METHOD_REASONS: Final = frozenset(reason for reason, refusal in PARSER.items() if refusal is METHOD_MALFORMED)
METHOD_LENGTH_MAX: Final = 64
_NOT_TOKEN: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")


def of_parser(reason: str) -> Refusal:
    """Llhttp's reason as a refusal: malformed, unless the text says otherwise."""
    return PARSER.get(reason) or bad("parser", reason + ".")


def unknown_method(start: bytes) -> Refusal | None:
    """Llhttp knows no such method: is it one at all? `start`: the message's first bytes. None: too few to tell."""
    word = start.lstrip(b"\r\n")
    end = _NOT_TOKEN.search(word)
    if end is None:
        return None if len(word) < METHOD_LENGTH_MAX else METHOD_MALFORMED
    known_otherwise = end[0] == b" " and end.start() > 0 and word[: end.start()] != b"PROXY"
    return METHOD_UNKNOWN if known_otherwise else METHOD_MALFORMED
