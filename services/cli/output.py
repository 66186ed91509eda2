"""How the CLI prints: data on stdout, all else on stderr; `-o table|wide|json|yaml|name`; nothing a server says
reaches the terminal as a control sequence; a reader that goes away early is no error.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TextIO

ANSI_GREEN: Final = "32"
ANSI_YELLOW: Final = "33"
ANSI_RED: Final = "31"
ANSI_BOLD: Final = "1"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Format(StrEnum):
    table = "table"
    wide = "wide"
    json = "json"
    yaml = "yaml"
    name = "name"


def clean(text: object) -> str:
    """Server data made harmless: control characters and direction marks are shown as escapes."""
    return _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}" if ord(m[0]) < 256 else f"\\u{ord(m[0]):04x}", str(text))


def coloured(stream: TextIO | None = None) -> bool:
    """A terminal, and nobody asked for plain text."""
    stream = stream or sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if coloured(stream) else text


def say(*lines: str) -> None:
    """Data."""
    for line in lines:
        print(line)
    sys.stdout.flush()


def tell(*lines: str) -> None:
    """About the data."""
    for line in lines:
        print(line, file=sys.stderr)


def report(kind: str, data: Any) -> dict[str, Any]:
    """The envelope of every JSON answer: additions only."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"kind": kind, "version": 1, "asOf": now, "data": data}


def emit(form: Format, kind: str, data: Any) -> None:
    """The machine-readable forms."""
    if form is Format.yaml:
        import yaml

        say(yaml.safe_dump(report(kind, data), sort_keys=False, allow_unicode=True).rstrip())
    else:
        say(json.dumps(report(kind, data), indent=2, ensure_ascii=False))


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Left-aligned columns, two blanks apart; nothing is cut, so a narrow terminal wraps and a pipe sees all."""
    cells = [[clean(c) for c in row] for row in rows]
    widths = [max(len(r[i]) for r in [list(heads), *cells]) for i in range(len(heads))]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in [list(heads), *cells]]


def humane_bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def humane_age(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def since(text: str | None) -> str:
    """How long ago an RFC 3339 moment was; a dash for none."""
    at = _moment(text)
    return humane_age(time.time() - at.timestamp()) if at else "-"


def clock(text: str | None) -> str:
    """Its time of day here; a dash for none."""
    at = _moment(text)
    return at.astimezone().strftime("%H:%M:%S") if at else "-"


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return None
