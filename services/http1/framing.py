"""How a body is delimited: the decisions of RFC 9112 6 that llhttp leaves to us, as plain functions over field values.

llhttp has refused before: both fields together, a second or malformed Content-Length, what it cannot read as chunked.
Here is what it lets pass: leading zeros, 2^63 and more, codings other than chunked, chunked on HTTP/1.0, empty list
members.
"""

from __future__ import annotations

import re
from typing import Final

LENGTH_DIGITS_MAX: Final = 18  # < 2^63 whatever the digits; 10^18 bytes is longer than any limit anyway
_TOKENS: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+(?:[ \t]*,[ \t]*[!#$%&'*+\-.^_`|~0-9a-z]+)*")


def content_length(value: bytes) -> int:
    """The number in its one spelling; -1: malformed (sign, list, leading zero, too large)."""
    digits = value.strip(b" \t")
    if not digits.isdigit() or len(digits) > LENGTH_DIGITS_MAX or (len(digits) > 1 and digits[0] == 48):
        return -1
    return int(digits)


def request_coding(value: bytes, *, http10: bool) -> str:
    """Empty: chunked, as it should be; else the slug of the refusal."""
    coding = value.strip(b" \t").lower()
    if http10:
        return "bad-request"
    if coding == b"chunked":
        return ""
    if _TOKENS.fullmatch(coding) is None:
        return "bad-request"
    codings = [part.strip(b" \t") for part in coding.split(b",")]
    unknown = any(part != b"chunked" for part in codings)
    misplaced = b"chunked" in codings[:-1]
    return "not-implemented" if unknown and not misplaced else "bad-request"


def is_chunked(value: bytes) -> bool:
    """Of an answer: the one transfer coding we can read."""
    return value.strip(b" \t").lower() == b"chunked"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
