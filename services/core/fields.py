"""Structured fields (RFC 9651): the one place that writes and parses them.

Items, Lists, parameters and all bare types; no Inner Lists and no Dictionaries, since no field of ours has them. In
use: RateLimit, RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-11), Idempotency-Key, Cache-Status (RFC 9211),
Proxy-Status (RFC 9209), Deprecation.

Bare items are Python values: int, Decimal as float, String as str, Token, bytes, bool, Date. `parse_*` return None
for anything malformed: RFC 9651 wants a bad field ignored as a whole. `write_*` raise ValueError for a value that has
no serialization.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

INT_MAX: Final = 999_999_999_999_999  # 15 digits, RFC 9651 3.3.1
_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_KEY: Final = re.compile(r"[a-z*][a-z0-9_\-.*]*")
_NUMBER: Final = re.compile(r"-?\d{1,12}\.\d{1,3}(?![\d.])|-?\d{1,15}(?![\d.])")
_STRING: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BYTES: Final = re.compile(r":([A-Za-z0-9+/=]*):")
_BOOLEAN: Final = re.compile(r"\?([01])")
_DATE: Final = re.compile(r"@(-?\d{1,15})(?![\d.])")
_SPACES: Final = re.compile(r" *")
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")


class Token(str):
    """A bare word, written without quotes."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Date:
    """Whole seconds since the epoch, `@1798761600`."""

    seconds: int


Bare = int | float | str | Token | bytes | bool | Date


@dataclass(frozen=True, slots=True)
class Item:
    value: Bare
    params: Mapping[str, Bare] = field(default_factory=dict)


def write_item(item: Item) -> str:
    parts = [_write_bare(item.value)]
    for key, value in item.params.items():
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"{key!r} is no parameter name")
        parts.append(key if value is True else f"{key}={_write_bare(value)}")
    return ";".join(parts)


def write_list(items: Iterable[Item]) -> str:
    return ", ".join(map(write_item, items))


def _write_bare(value: Bare) -> str:
    if isinstance(value, bool):
        return "?1" if value else "?0"
    if isinstance(value, int | float):
        return _write_number(value)
    if isinstance(value, Date):
        return "@" + _write_number(value.seconds)
    if isinstance(value, bytes):
        return f":{base64.b64encode(value).decode()}:"
    if isinstance(value, Token):
        if _TOKEN.fullmatch(value) is None:
            raise ValueError(f"{value!r} is no token")
        return str(value)
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"{value!r} has characters a String cannot hold")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write_number(value: float) -> str:
    if isinstance(value, int):
        if abs(value) > INT_MAX:
            raise ValueError(f"{value} has more than 15 digits")
        return str(value)
    text = f"{value:.3f}".rstrip("0")
    if not abs(value) < 10**12 or len(text.partition(".")[0].lstrip("-")) > 12:
        raise ValueError(f"{value} has more than 12 digits before the point")
    return text + "0" if text.endswith(".") else text


def parse_item(text: str) -> Item | None:
    """The field's one item; spaces around it are allowed."""
    text = text.strip(" ")
    found = _item(text, 0)
    return found[0] if found is not None and found[1] == len(text) else None


def parse_list(text: str) -> list[Item] | None:
    """The field's items; several field lines are joined with ", " first. Empty text is an empty list."""
    text, at = text.strip(" "), 0
    items: list[Item] = []
    while at < len(text) or items:
        found = _item(text, at)
        if found is None:
            return None
        item, at = found
        items.append(item)
        if at == len(text):
            break
        comma = _COMMA.match(text, at)
        if comma is None:
            return None
        at = comma.end()
    return items


def _item(text: str, at: int) -> tuple[Item, int] | None:
    found = _bare(text, at)
    if found is None:
        return None
    value, at = found
    params: dict[str, Bare] = {}
    while text.startswith(";", at):
        at = _end(_SPACES, text, at + 1)
        key = _KEY.match(text, at)
        if key is None:
            return None
        at = key.end()
        params.pop(key[0], None)  # the last of two counts, at the last one's place
        if not text.startswith("=", at):
            params[key[0]] = True
            continue
        found = _bare(text, at + 1)
        if found is None:
            return None
        params[key[0]], at = found
    return Item(value, params), at


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()


def _bare(text: str, at: int) -> tuple[Bare, int] | None:
    """The bare item at `at` and where it ends; its first character tells the type."""
    first = text[at : at + 1]
    if first == '"' and (match := _STRING.match(text, at)):
        return re.sub(r"\\(.)", r"\1", match[1]), match.end()
    if first == "?" and (match := _BOOLEAN.match(text, at)):
        return match[1] == "1", match.end()
    if first == "@" and (match := _DATE.match(text, at)):
        return Date(int(match[1])), match.end()
    if first == ":" and (match := _BYTES.match(text, at)):
        return _decoded(match)
    if match := _NUMBER.match(text, at):
        return (float(match[0]) if "." in match[0] else int(match[0])), match.end()
    if match := _TOKEN.match(text, at):
        return Token(match[0]), match.end()
    return None


def _decoded(match: re.Match[str]) -> tuple[Bare, int] | None:
    try:
        return base64.b64decode(match[1] + "=" * (-len(match[1]) % 4), validate=True), match.end()
    except binascii.Error:
        return None
