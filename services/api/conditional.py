"""Entity tags and the two conditions on them (RFC 9110 section 13).

A compressed answer carries the tag with the suffix `-gz`; comparisons ignore it, since it names the same state of the
thing. Called by the routes that send an ETag.
"""

from __future__ import annotations

import re
from typing import Final

SUFFIX: Final = "-gz"
_TAG: Final = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|\Z)')


def tag(name: str) -> str:
    return f'"{name}"'


def none_match(header: str | None, etag: str) -> bool:
    """If-None-Match: does the client have it already (304)? Weak comparison; a malformed field is no condition."""
    if header is None:
        return False
    listed = _tags(header)
    return listed is not None and (listed == ["*"] or _plain(etag) in map(_plain, listed))


def match(header: str | None, etag: str) -> bool:
    """If-Match: may the thing be changed (else 412)? Strong comparison: a weak or malformed tag matches nothing."""
    if header is None:
        return True
    listed = _tags(header)
    return listed is not None and (listed == ["*"] or _plain(etag) in (_plain(t) for t in listed if t[:2] != "W/"))


def _tags(header: str) -> list[str] | None:
    """The field's tags, weak ones with their W/; None if it is no list of tags."""
    if header.strip() == "*":
        return ["*"]
    found, at = [], 0
    while at < len(header):
        one = _TAG.match(header, at)
        if one is None:
            return None
        found.append(f'{one[1] or ""}"{one[2]}"')
        at = one.end()
    return found


def _plain(etag: str) -> str:
    return etag.removeprefix("W/").strip('"').removesuffix(SUFFIX)
