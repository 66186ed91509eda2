"""The API server's address, its refusals and its lines; requests and TLS are made in test_endpoint_slices.py and tests/cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from services.runtime import kube_api
from services.runtime.endpoints import SourceError
from services.runtime.kube_api import RefusalError, check, decoded, in_cluster, lines


def test_the_api_server_is_the_pods_own():
    """From the kubelet's two variables, IPv6 in brackets; without them it is said what is missing."""
    where = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    assert in_cluster(where).url == "https://[fd00::1]:6443"
    assert in_cluster({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}).url == "https://10.96.0.1:443"
    with pytest.raises(SourceError, match="not in a cluster"):
        in_cluster({})


def test_a_refusal_has_the_api_servers_words():
    """The Status object's message; whatever else came, as it is. 200 is none."""
    check(httpx.Response(200))
    with pytest.raises(RefusalError, match="answered 403: no such right"):
        check(httpx.Response(403, json={"kind": "Status", "message": "no such right"}))
    with pytest.raises(RefusalError, match="answered 502: a proxy's page") as refused:
        check(httpx.Response(502, text="a proxy's page"))
    assert refused.value.status == 502


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_what_is_no_object_is_refused(data):
    """Not JSON, or JSON of another shape."""
    with pytest.raises(SourceError, match="is not"):
        decoded(data)


async def test_lines_end_at_line_feeds_alone(monkeypatch):
    """U+0085 and its like may stand in a JSON string; pieces are put together; empty lines are none; there is a bound."""
    text = "a\x85b\u2028c\n\nd\nrest".encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(text), 3):
            yield text[start : start + 3]

    found = [line async for line in lines(httpx.Response(200, content=pieces()))]
    assert found == ["a\x85b\u2028c".encode(), b"d"]
    monkeypatch.setattr(kube_api, "LINE_MAX_BYTES", 3)
    with pytest.raises(SourceError, match="larger than"):
        [line async for line in lines(httpx.Response(200, content=pieces()))]
