"""Who is there: addresses of the next hop from a list of sources, replaced whole whenever one changes.

`http://host:port` names one endpoint; `file:path` is a JSON file that the supervisor (or whoever) writes;
`dns:host:port` asks the resolver every five seconds; `k8s:namespace/service:port` watches the Service's EndpointSlices
(endpoint_slices.py). Called by the gateway (balancers, peers), the balancer (apis) and the api (every control port).
Every source keeps its last good answer (endpoints.py). Only this module speaks to the file or the resolver; the caller
gets immutable tuples.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import socket
import stat
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from services.runtime.endpoint_slices import SliceSource, service_of
from services.runtime.endpoints import EndpointInfo, Source, SourceError, authority, is_host, merged
from services.runtime.log import get_log
from services.runtime.tasks import spawn, stop

FILE_MAX_BYTES: Final = 1 << 20  # a thousand entries with room
FILE_PERIOD_S: Final = 0.2  # one stat; a killed process must be out of the file's way at once
DNS_PERIOD_S: Final = 5.0
DNS_FIRST_WAIT_S: Final = 2.0  # start does not hang on a dead resolver
WEIGHT_MAX: Final = 1000.0
FORMS: Final = "http://host:port, file:path, dns:host:port or k8s:namespace/service:port"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\[\]-]{0,127}")

log = get_log(__name__)


OnChange = Callable[[tuple[EndpointInfo, ...]], None]


class Discovery:
    """`on_change` is called once by `start` and then with every new set; `current` is always the latest one."""

    def __init__(self, sources: Sequence[str], on_change: OnChange) -> None:
        """Raises SourceError for a form that is none."""
        self.current: tuple[EndpointInfo, ...] = ()
        self._on_change = on_change
        self._sources = [make_source(text) for text in sources]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await asyncio.gather(*(source.first() for source in self._sources))
        self.current = merged(source.found for source in self._sources)
        self._on_change(self.current)
        for source in self._sources:
            self._tasks.append(spawn(source.follow(self._merge), name=f"discovery {source.text}"))

    async def stop(self) -> None:
        await stop(*self._tasks)
        self._tasks.clear()

    def _merge(self) -> None:
        found = merged(source.found for source in self._sources)
        if found != self.current:
            self.current = found
            self._on_change(found)


class FileSource(Source):
    period_s = FILE_PERIOD_S

    def __init__(self, text: str, path: str) -> None:
        super().__init__(text)
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    async def first(self) -> None:
        await self.look()

    async def look(self) -> bool:
        try:
            signature = _signature(os.stat(self._path))  # noqa: PTH116  # one local system call
            if signature == self._seen:
                return False
            data, self._seen = read_regular(self._path)
            return self._accept(parse_endpoints(data, self.text))
        except OSError as error:
            self._seen = None
            return self._refuse(error.strerror or str(error))
        except SourceError as error:
            return self._refuse(str(error))


class DnsSource(Source):
    period_s = DNS_PERIOD_S

    def __init__(self, text: str, host: str, port: int) -> None:
        super().__init__(text)
        self._host = host
        self._port = port

    async def first(self) -> None:
        try:
            async with asyncio.timeout(DNS_FIRST_WAIT_S):
                await self.look()
        except TimeoutError:
            self._refuse("the resolver did not answer in time")

    async def look(self) -> bool:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:  # gaierror is one
            return self._refuse(error.strerror or str(error))
        hosts = sorted({str(answer[4][0]) for answer in answers})
        if not hosts:
            return self._refuse("no addresses")
        return self._accept(tuple(EndpointInfo(authority(host, self._port), host, self._port) for host in hosts))


def make_source(text: str) -> Source:
    """`text` in one of the four forms → its source; raises SourceError. Nothing is looked up: settings are checked so."""
    scheme, _, rest = text.partition(":")
    if scheme == "http" and rest.startswith("//"):
        netloc, _, path = rest[2:].partition("/")
        if path or (set(netloc) & {"?", "#"}):
            raise SourceError(f"{text!r}: an endpoint has no path; the forms are {FORMS}")
        host, port = _host_port(text, netloc)
        return Source(text, (EndpointInfo(authority(host, port), host, port),))
    if scheme == "file" and rest:
        return FileSource(text, rest.removeprefix("//") if rest.startswith("///") else rest)
    if scheme == "dns" and rest:
        return DnsSource(text, *_host_port(text, rest))
    if scheme == "k8s" and (service := service_of(rest)):
        return SliceSource(text, service)
    raise SourceError(f"{text!r} is not one of {FORMS}")


def read_regular(path: str) -> tuple[bytes, tuple[int, int, int]]:
    """Content and signature of a regular file of bounded size; never waits for a FIFO's other end. Raises SourceError,
    OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:  # noqa: PTH123  # a descriptor, not a path
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise SourceError("not a regular file")
        data = file.read(FILE_MAX_BYTES + 1)
    if len(data) > FILE_MAX_BYTES:
        raise SourceError(f"larger than {FILE_MAX_BYTES} bytes")
    return data, _signature(status)


def parse_endpoints(data: bytes, text: str) -> tuple[EndpointInfo, ...]:
    """The endpoints file: a JSON array of objects. One bad entry refuses the file, for half a list may be worse than
    the old one.
    """
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError):
        raise SourceError("not JSON") from None
    if not isinstance(entries, list):
        raise SourceError("not a JSON array")
    found = merged((tuple(_endpoint(number, entry) for number, entry in enumerate(entries)),))
    if len(found) < len(entries):
        log.warning(
            "endpoints left out: doubles, or beyond the limit", source=text, kept=len(found), given=len(entries)
        )
    return found


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _host_port(text: str, netloc: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{netloc}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise SourceError(f"{text!r}: no host:port; the forms are {FORMS}") from None
    if not is_host(host) or port is None or not port or "@" in netloc:
        raise SourceError(f"{text!r}: no host:port; the forms are {FORMS}")
    return host, port


def _endpoint(number: int, entry: Any) -> EndpointInfo:
    if not isinstance(entry, dict):
        raise SourceError(f"entry {number} is no object")
    port = _member(number, entry, "port", int, 0)
    host = _member(number, entry, "host", str, "")
    weight = _member(number, entry, "weight", (int, float), 1.0)
    control_url = _member(number, entry, "controlUrl", str, "")
    if not is_host(host) or not 0 < port < 65536:
        raise SourceError(f"entry {number}: no host and port")
    if not (math.isfinite(weight) and 0 < weight <= WEIGHT_MAX):
        raise SourceError(f"entry {number}: weight must be above 0 and at most {WEIGHT_MAX:g}")
    if control_url and urlsplit(control_url).scheme != "http":
        raise SourceError(f"entry {number}: controlUrl is no http URL")
    name = _member(number, entry, "id", str, "") or authority(host, port)
    if not _ID.fullmatch(name):
        raise SourceError(f"entry {number}: id must be letters, digits and . _ : -")
    version = _member(number, entry, "version", str, "")
    return EndpointInfo(
        name,
        host,
        port,
        control_url,
        float(weight),
        version,
        draining=_member(number, entry, "draining", bool, default=False),
    )


def _member(number: int, entry: dict[str, Any], name: str, kind: Any, default: Any) -> Any:
    value = entry.get(name, default)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise SourceError(f"entry {number}: {name} has the wrong type")
    return value
