"""Request targets and authorities: one pure pass whose result is routed, limited, logged and forwarded (data-path 3.4,
RFC 3986 6.2.2).

`normalise` is idempotent and never leaves the root. The gateway takes its result; the balancer refuses what it would
change, so both route what the api will see. Called by the server connection: only if `is_plain` says that there is
something to look at.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

# In a plain target none of these is found: nothing to decode, collapse or refuse.
find_odd: Final = re.compile(rb"[%\\#\x00-\x20\x7f-\xff]|//|/\.").search
_RAW: Final = re.compile(rb"[\\#\x00-\x20\x7f-\xff]").search
_ESCAPE: Final = re.compile(rb"%(..?)?", re.DOTALL)
_HEX: Final = frozenset(b"%02x" % i for i in range(256))
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_FORBIDDEN: Final = frozenset({*range(0x20), 0x7F, ord("/"), ord("\\")})
_AUTHORITY: Final = re.compile(rb"(?:(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]+\])(?::([0-9]*))?")
_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)")
PORT_MAX: Final = 65_535


class Target(NamedTuple):
    path: bytes
    query: bytes  # with its "?"; untouched
    authority: bytes = b""  # of an absolute-form; it replaces Host


def normalise(target: bytes) -> Target | str:
    """The target in its one form, or why it is refused: a word for metrics and the answer's detail."""
    authority = b""
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.match(target)
        if absolute is None or absolute[1].lower() not in {b"http", b"https"}:
            return "target-form"
        authority = absolute[2]
        if not is_authority(authority):
            return "target-authority"
        target = target[absolute.end() :]
        if not target.startswith(b"/"):
            target = b"/" + target
    path, mark, rest = target.partition(b"?")
    query = mark + rest
    if _RAW(path) is not None or _RAW(query) is not None:
        return "target-character"
    if b"%" in path:
        decoded = _decode(path)
        if isinstance(decoded, str):
            return decoded
        path = decoded
    cleaned = _remove_dots(path)
    return "target-above-root" if cleaned is None else Target(cleaned, query, authority)


def is_authority(authority: bytes) -> bool:
    """A host and perhaps a port: no userinfo, no list, no path (RFC 9110 7.2)."""
    match = _AUTHORITY.fullmatch(authority)
    return match is not None and (not match[1] or (len(match[1]) <= 5 and int(match[1]) <= PORT_MAX))


def _decode(path: bytes) -> bytes | str:
    """Unreserved characters as themselves, other escapes in capitals; once, so `%252e` stays."""
    parts: list[bytes] = []
    at = 0
    for escape in _ESCAPE.finditer(path):
        digits = (escape[1] or b"").lower()
        if digits not in _HEX:
            return "target-escape"
        value = int(digits, 16)
        if value in _FORBIDDEN:
            return "target-forbidden-escape"
        parts += (path[at : escape.start()], bytes((value,)) if value in _UNRESERVED else b"%" + digits.upper())
        at = escape.end()
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return "target-utf8"
    return b"".join((*parts, path[at:]))


def _remove_dots(path: bytes) -> bytes | None:
    """Empty segments, `.` and `..` go; None above the root."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if not kept:
                return None
            kept.pop()
        elif segment not in {b"", b"."}:
            kept.append(segment)
    if kept and segments[-1] in {b"", b".", b".."}:
        kept.append(b"")
    return b"/" + b"/".join(kept)
