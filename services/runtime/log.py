"""Log lines as events with fields: JSON for machines, columns on a terminal, secrets removed, never in a request's way.

Everything is rendered where it is logged and handed to one writer thread over a bounded buffer: a full disk or a
stopped reader costs lines (counted in `<p>_log_dropped_total`), never a request. Redaction is by name and by shape
(reliability.md 5.2); control bytes are escaped by JSON itself, and by us on a terminal. Libraries that use `logging`
(uvicorn, asyncio, redis) come out of the same pipe.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

import structlog
from structlog.typing import FilteringBoundLogger, Processor

if TYPE_CHECKING:
    from services.runtime.settings import Settings

SECRET_NAMES: Final = frozenset(
    {
        "authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "x-csrf-token",
        "x-gateway-identity",
        "password",
        "token",
        "secret",
    }
)
# Keys keep their public id, so that an operator can still find the owner.
SHAPES: Final = (
    (re.compile(r"(sk_(?:live|test)_[0-9a-z]{1,10})[A-Za-z0-9_]*"), r"\1***"),
    (re.compile(r"ses_[A-Za-z0-9]+"), "ses_***"),
    (re.compile(r"(?i)(bearer\s+)[^\s,;\"']+"), r"\1***"),
    (re.compile(r"(?i)([a-z][a-z0-9+.\-]*://[^\s:/@]*:)[^\s/@]*(@)"), r"\1***\2"),
)
CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b]")
FIELD_MAX: Final = 1024
EXCEPTION_MAX: Final = 8 * 1024
LINE_MAX: Final = 16 * 1024
ALWAYS: Final = ("message", "level", "timestamp", "component", "instance", "source", "request_id")
BUFFER_LINES: Final = 10_000  # some seconds of a very talkative process; 16 MiB at worst per 1 000 longest lines
LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class LogWriter:
    """One thread that may block on the file descriptor so that nobody else does."""

    def __init__(self, fd: int, lines_max: int = BUFFER_LINES) -> None:
        self.dropped = 0
        self._fd = fd
        self._lines: deque[bytes] = deque()
        self._lines_max = lines_max
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        if len(self._lines) >= self._lines_max:
            self.dropped += 1
            return
        self._lines.append(line.encode("utf-8", "replace") + b"\n")
        self._wake.set()

    def close(self, within_s: float = 1.0) -> None:
        """Write what is left if the reader takes it in time."""
        self._closing = True
        self._wake.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        while not self._closing or self._lines:
            self._wake.wait()
            self._wake.clear()
            while self._lines:
                chunk = b"".join(self._lines.popleft() for _ in range(min(len(self._lines), 256)))
                self._put(chunk)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except OSError:  # disk full, reader gone: this chunk is lost, the next may pass
                self.dropped += data.count(b"\n")
                return


class _Pipe:
    """structlog's logger type: takes the rendered line."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer

    def msg(self, line: str) -> None:
        self._writer.write(line)

    debug = info = warning = error = critical = exception = log = msg


class _Bridge(logging.Handler):
    """`logging` records of libraries, on into structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            exc_info = record.exc_info if record.exc_info and record.exc_info[0] else None
            get_log(record.name).log(record.levelno, record.getMessage(), exc_info=exc_info)
        except Exception:  # noqa: BLE001  # a log line must not raise into the library that wrote it
            self.handleError(record)


def get_log(name: str) -> FilteringBoundLogger:
    return structlog.get_logger(source=name)  # type: ignore[no-any-return]


def configure(settings: Settings, fd: int = 1) -> LogWriter:
    """Point structlog and logging at one writer; called once per process, before anything else logs."""
    writer = LogWriter(fd)
    level = LEVELS[settings.log_level]
    console = settings.log_format == "console" or (settings.log_format is None and os.isatty(fd))
    structlog.configure(
        processors=[*_common(settings), *_renderers(console=console, colors=os.isatty(fd))],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Pipe(writer),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Bridge()], level=max(level, logging.INFO), force=True)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    sys.excepthook = lambda kind, error, trace: get_log("process").critical("uncaught", exc_info=(kind, error, trace))
    return writer


def _common(settings: Settings) -> list[Processor]:
    def origin(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["component"], event["instance"] = settings.component, settings.instance_id
        return event

    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        origin,
        structlog.processors.format_exc_info,
        redact,
    ]


def _renderers(*, console: bool, colors: bool) -> list[Processor]:
    if console:
        return [_printable, structlog.dev.ConsoleRenderer(colors=colors)]
    return [structlog.processors.EventRenamer("message"), _json]


def _json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """One line; of one that would be too long, only who, when and what: half a JSON object helps nobody."""
    line = json.dumps(event, default=str, ensure_ascii=False)
    if len(line) <= LINE_MAX:
        return line
    kept = {name: event[name] for name in ALWAYS if name in event}
    return json.dumps({**kept, "truncated": True}, default=str, ensure_ascii=False)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        event[name] = clean(name, value)
    return event


def clean(name: str, value: Any) -> Any:
    """A field as it may be written: secrets out by name and shape, nested ones too, long text cut."""
    if name.lower().replace("_", "-") in SECRET_NAMES:
        return "***"
    if isinstance(value, Mapping):
        return {str(key): clean(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean("", item) for item in value]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if value is None or isinstance(value, bool | int | float):
        return value
    text = scrub(value if isinstance(value, str) else str(value))
    if name == "exception":  # its end says what it was and where it came from
        return text if len(text) <= EXCEPTION_MAX else f"…{text[-EXCEPTION_MAX:]}"
    return text if len(text) <= FIELD_MAX else f"{text[:FIELD_MAX]}…"


def scrub(text: str) -> str:
    for shape, replacement in SHAPES:
        text = shape.sub(replacement, text)
    return text


def _printable(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", value)
    return event
