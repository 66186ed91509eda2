"""HTTP/1.1 clients for tests: httpx where comfort counts, a bare connection where load or timing does.

`source` binds a client to another loopback address (127.0.0.9): for the gateway that is another anonymous identifier.
"""

from __future__ import annotations

import httpx

from services.cli.traffic.connection import Connection, Reply, request

__all__ = ["Connection", "Reply", "client", "request"]


def client(url: str, source: str | None = None, **options: object) -> httpx.AsyncClient:
    """An httpx client of one base URL that knows no proxy and retries nothing."""
    transport = httpx.AsyncHTTPTransport(local_address=source, retries=0)
    return httpx.AsyncClient(base_url=url, transport=transport, timeout=10.0, trust_env=False, **options)  # type: ignore[arg-type]
