"""What a source of endpoints is: an address with a name, and a set of them that is replaced whole.

A source keeps its last good answer: a failing or mistyped one takes nobody out of service, and what is wrong is logged
once, not each time it is seen. Used by discovery.py (static, file, resolver) and endpoint_slices.py (Kubernetes);
`EndpointInfo` is what gateway, balancer and api get.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from services.runtime.log import get_log

MAX_ENDPOINTS: Final = 1000
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    id: str
    host: str
    port: int
    control_url: str = ""
    weight: float = 1.0
    version: str = ""
    draining: bool = False


class SourceError(ValueError):
    """A source, or what it delivered, cannot be used; the text names it."""


class Source:
    """One of the forms. A static one looks like this: it never changes, so it has no period."""

    period_s = 0.0

    def __init__(self, text: str, found: tuple[EndpointInfo, ...] = ()) -> None:
        self.text = text
        self.found = found
        self._complaint = ""

    async def first(self) -> None:
        """The first look, bounded in time."""

    async def look(self) -> bool:
        """Look again; has `found` changed?"""
        return False

    async def follow(self, changed: Callable[[], None]) -> None:
        """Calls `changed` after each change of `found`, until it is cancelled; at once over where nothing can change."""
        while self.period_s:
            await asyncio.sleep(self.period_s)
            if await self.look():
                changed()

    def _accept(self, found: tuple[EndpointInfo, ...]) -> bool:
        changed = found != self.found
        self.found = found
        self._readable()
        return changed

    def _readable(self) -> None:
        if self._complaint:
            log.info("endpoints can be read again", source=self.text, endpoints=len(self.found))
            self._complaint = ""

    def _refuse(self, complaint: str) -> bool:
        if complaint != self._complaint:
            self._complaint = complaint
            log.warning("endpoints not read, the last ones stay", source=self.text, reason=complaint)
        return False


def merged(sets: Iterable[tuple[EndpointInfo, ...]]) -> tuple[EndpointInfo, ...]:
    """All sources in order; of those that share an id or an address the first counts; a thousand at most."""
    found: dict[str, EndpointInfo] = {}
    addresses: set[tuple[str, int]] = set()
    for endpoint in (endpoint for part in sets for endpoint in part):
        address = (endpoint.host, endpoint.port)
        if endpoint.id in found or address in addresses:
            continue
        if len(found) >= MAX_ENDPOINTS:
            break
        found[endpoint.id] = endpoint
        addresses.add(address)
    return tuple(found.values())


def authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_host(host: str) -> bool:
    if _HOST.fullmatch(host):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
