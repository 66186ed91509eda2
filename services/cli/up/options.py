"""What the user asked of `up`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.cli.output import Format


@dataclass(frozen=True, slots=True)
class Options:
    """The flags of platform.md §2. `demo` None: on without a file, off with one."""

    file: Path | None = None
    data_dir: Path | None = None
    port: int | None = None
    host: str = "127.0.0.1"
    database_url: str | None = None
    redis_url: str | None = None
    demo: bool | None = None
    demo_rate: float = 1.0
    open_browser: bool = False
    log_level: str = "info"
    form: Format = Format.table
