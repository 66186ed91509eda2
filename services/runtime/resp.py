"""Commands in RESP, and Redis URLs: what the data path's own connection says, and where to.

Called by redis_batch.py; the limiter and the session look-ups build their constant command bytes with `command`.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit


def command(*parts: bytes | str) -> bytes:
    """A command in RESP: an array of bulk strings."""
    out = [b"*%d\r\n" % len(parts)]
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        out.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(out)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a Redis URL leads, and what is said first there."""

    path: str
    host: str
    port: int
    greeting: tuple[bytes, ...]


def target(url: str) -> Target:
    """`redis://[user:password@]host[:port][/db]` or `unix://[user:password@]/path[?db=n]`; ValueError for another
    scheme.
    """
    parts = urlsplit(url)
    db = parse_qs(parts.query).get("db", ["0"])[0]
    greeting = []
    if parts.password is not None:
        user = [unquote(parts.username)] if parts.username else []
        greeting.append(command("AUTH", *user, unquote(parts.password)))
    if parts.scheme == "redis":
        db = parts.path.strip("/") or db
    elif parts.scheme != "unix":
        raise ValueError(f"{parts.scheme}://: the limiter speaks redis:// and unix:// only")
    if not db.isdecimal():
        raise ValueError(f"{db!r} is no database number")
    if db != "0":
        greeting.append(command("SELECT", db))
    if parts.scheme == "unix":
        return Target(unquote(parts.path), "", 0, tuple(greeting))
    return Target("", parts.hostname or "localhost", parts.port or 6379, tuple(greeting))
