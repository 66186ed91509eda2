"""The raw client: what is sent, and every answer as a value."""

from __future__ import annotations

import base64
import ssl

import kopf
import pytest

from scalable_operator.kube import APPLY, Answer, Kube, Place, outcome
from services.controller.backend import Conflict, Denied, Done, Gone, RetryAfter
from tests.unit.scalable_operator.api_server import api_server

MAP = Place("", "v1", "configmaps", "n", "shop-tiers")


def test_a_place_is_a_path() -> None:
    """Core and named groups, all namespaces and one, objects and subresources."""
    assert MAP.path == "/api/v1/namespaces/n/configmaps/shop-tiers"
    assert Place("apps", "v1", "deployments").path == "/apis/apps/v1/deployments"
    scale = Place("apps", "v1", "deployments", "n", "d", "scale")
    assert (scale.path, scale.called) == ("/apis/apps/v1/namespaces/n/deployments/d/scale", "deployments/scale")


async def test_writes_say_what_they_are_and_are_counted() -> None:
    """An apply has its content type, the token and who asks; each request is counted by verb, resource, code."""
    counted = []
    async with api_server() as server:
        kube = Kube(server.login, agent="operator/1 (pod-1)", count=lambda *what: counted.append(what))
        server.put(MAP.path, {"metadata": {"name": "shop-tiers"}})
        assert (await kube.get(MAP)).ok
        assert (await kube.apply(MAP, {"metadata": {"name": "shop-tiers"}}, manager="m")).code == 200
        await kube.close()
    assert server.headers[1]["Content-Type"] == APPLY
    assert server.headers[1]["Authorization"] == "Bearer t-1"
    assert server.headers[1]["User-Agent"] == "operator/1 (pod-1)"
    assert counted == [("get", "configmaps", "200"), ("patch", "configmaps", "200")]


async def test_a_refused_token_is_read_again() -> None:
    """401: the file's newer token is tried at once, in the same call; the same one is not tried twice."""
    async with api_server() as server:
        kube = Kube(server.login)
        server.put(MAP.path, {"metadata": {"name": "shop-tiers"}})
        server.script, server.token = [401], "t-2"
        assert (await kube.get(MAP)).ok
        server.script = [401]
        assert (await kube.get(MAP)).code == 401
        await kube.close()
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer t-1", "Bearer t-2", "Bearer t-2"]


async def test_lists_come_in_pages() -> None:
    """All pages, of each object what is kept; an answer that fails in between is none at all."""
    pods = Place("", "v1", "pods")
    one, two = ({"name": n, "namespace": "n", "uid": n, "resourceVersion": "1"} for n in "ab")
    async with api_server() as server:
        kube = Kube(server.login)
        server.lists[pods.path] = [[{**one, "managedFields": [{}]}], [two]]
        assert await kube.list_metadata(pods) == [one, two]
        server.script = [410]
        assert await kube.list_metadata(pods) is None
        await kube.close()


async def test_a_certificate_in_the_kubeconfig_is_loaded() -> None:
    """`client-certificate-data` and `client-key-data` reach OpenSSL: what is no certificate is refused by it."""
    data = base64.b64encode(b"no certificate").decode()
    info = kopf.ConnectionInfo(server="https://127.0.0.1:1", certificate_data=data, private_key_data=data)
    with pytest.raises(ssl.SSLError):
        Kube(lambda: info)


async def test_no_answer_is_an_answer() -> None:
    """A server that is away is code 0, to be tried again, not an exception."""
    async with api_server() as server:
        kube = Kube(server.login)
    answer = await kube.get(MAP, timeout_s=1)
    await kube.close()
    assert answer.code == 0
    assert isinstance(outcome(answer, "get", MAP), RetryAfter)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(200, Done()), (201, Done()), (404, Gone()), (409, Conflict()), (429, RetryAfter(7.0)), (503, RetryAfter(7.0))],
)
def test_outcomes(code: int, expected: object) -> None:
    """The backend's word for each code."""
    assert outcome(Answer(code, retry_after_s=7.0), "patch", MAP) == expected


def test_a_refusal_names_the_verb() -> None:
    """403 tells what is not granted."""
    found = outcome(Answer(403, {"message": "no"}), "patch", MAP)
    assert found == Denied("patch configmaps: no")
