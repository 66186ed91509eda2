"""The Kubernetes API as a pod of ours speaks it: plain HTTPS with its ServiceAccount, no client library.

Who asks is the pod's ServiceAccount; the kubelet replaces its token within the hour, so token and CA are read anew for
each client. Refusals are `RefusalError`, what is not shaped as promised `SourceError`. Used by endpoint_slices.py.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from services.runtime.endpoints import SourceError, authority
from services.runtime.http_client import client

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # where the kubelet puts it, in every pod
ANSWER_S: Final = 5.0
LINE_MAX_BYTES: Final = 16 << 20  # etcd keeps no object above 1.5 MiB


class RefusalError(SourceError):
    """The API server refused: its status, and its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the API server answered {status}: {message[:300]}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Cluster:
    """The API server as a pod sees it; `account` holds token and CA."""

    url: str
    account: Path

    def client(self) -> httpx.AsyncClient:
        """Reads token and CA as they are now; raises OSError."""
        token = (self.account / "token").read_text().strip()
        context = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
        http = client(timeout_s=ANSWER_S, base_url=self.url, connections=1, verify=context)
        http.headers["authorization"] = f"Bearer {token}"
        return http


def in_cluster(environ: Mapping[str, str] = os.environ) -> Cluster:
    """From what the kubelet sets in every container; raises SourceError elsewhere."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise SourceError("not in a cluster: KUBERNETES_SERVICE_HOST is not set")
    return Cluster(f"https://{authority(host, int(port))}", ACCOUNT)


def check(answer: httpx.Response) -> None:
    """Raises RefusalError with the Status object's message."""
    if answer.status_code == httpx.codes.OK:
        return
    try:
        message = str(decoded(answer.content).get("message", ""))
    except SourceError:
        message = answer.text
    raise RefusalError(answer.status_code, message)


def decoded(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise SourceError("the API server's answer is not JSON") from None
    if not isinstance(found, dict):
        raise SourceError("the API server's answer is not an object")
    return found


async def lines(answer: httpx.Response) -> AsyncIterator[bytes]:
    """Split at line feeds alone: httpx's own splits at characters that may stand inside a JSON string."""
    held = b""
    async for chunk in answer.aiter_bytes():
        *whole, held = (held + chunk).split(b"\n")
        if len(held) > LINE_MAX_BYTES:
            raise SourceError(f"an event larger than {LINE_MAX_BYTES} bytes")
        for line in filter(None, whole):
            yield line
