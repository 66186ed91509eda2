"""The fault proxy: what it lets through is what the server said, and each fault is the one that was asked for."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.cluster.client import Client
from tests.cluster.fault_proxy import Call, Cut, Delay, Refuse, Silence, Swap, Twice


@pytest.fixture
def through(proxy, plane):
    headers = {"Authorization": f"Bearer {plane.token}"}
    with httpx.Client(base_url=proxy.url, headers=headers, trust_env=False, timeout=10) as http:
        yield http


def maps(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{name}".rstrip("/")


def create(client: Client, namespace: str, *names: str) -> None:
    for name in names:
        client.do("POST", maps(namespace), {"metadata": {"name": name, "labels": {"of": "test"}}})


def seen(http: httpx.Client, namespace: str, *, seconds: int = 2) -> list[str]:
    """The names a watch tells from the beginning until the server ends it."""
    query = {"watch": "true", "timeoutSeconds": str(seconds), "labelSelector": "of=test", "resourceVersion": "0"}
    with http.stream("GET", maps(namespace), params=query) as events:
        return [json.loads(line)["object"]["metadata"]["name"] for line in events.iter_lines()]


def test_without_a_rule_it_is_the_server(proxy, through, client, namespace):
    """Reads, writes, refusals and watches come through; reads are no writes."""
    assert through.post(maps(namespace), json={"metadata": {"name": "a", "labels": {"of": "test"}}}).status_code == 201
    assert through.get(maps(namespace, "a")).json()["metadata"]["name"] == "a"
    assert through.get(maps(namespace, "b")).status_code == 404
    assert seen(through, namespace) == ["a"]
    assert proxy.writes == 1


def test_a_refusal_is_the_proxys_own_and_is_spent(proxy, through, client, namespace):
    """429 with its Retry-After, twice; the third call is the server's again. Nothing was written by the refused ones."""
    proxy.add(lambda call: call.is_write, Refuse(429, retry_after_s=3), times=2)
    answers = [through.post(maps(namespace), json={"metadata": {"name": "a"}}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 201]
    assert answers[0].headers["retry-after"] == "3"


@pytest.mark.parametrize("after", [False, True])
def test_a_cut_ends_the_connection(proxy, through, client, namespace, after):
    """The client gets no answer; the server did the write or never heard of it, as was asked."""
    proxy.add(lambda call: call.is_write, Cut(after=after), times=1)
    with pytest.raises(httpx.TransportError):
        through.post(maps(namespace), json={"metadata": {"name": "a"}}).read()
    assert client.ask("GET", maps(namespace, "a")).status_code == (200 if after else 404)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_kth_write_can_be_the_last(proxy, through, client, namespace, moment):
    """`at_write` hears of each write in both moments, and decides where it ends."""
    proxy.at_write = lambda number, when, call: (number, when) != (2, moment)
    assert through.post(maps(namespace), json={"metadata": {"name": "first"}}).status_code == 201
    with pytest.raises(httpx.TransportError):
        through.post(maps(namespace), json={"metadata": {"name": "second"}}).read()
    assert client.ask("GET", maps(namespace, "second")).status_code == (404 if moment == "before" else 200)


def test_a_watch_says_everything_twice(proxy, through, client, namespace):
    """Each event two times in a row."""
    create(client, namespace, "a", "b")
    proxy.add(lambda call: call.is_watch, Twice())
    assert sorted(seen(through, namespace)) == ["a", "a", "b", "b"]


def test_a_watch_swaps_neighbours(proxy, through, client, namespace):
    """The same events as without the fault, pairs in the other order."""
    create(client, namespace, "a", "b", "c")
    plain = seen(through, namespace)
    proxy.add(lambda call: call.is_watch, Swap())
    assert seen(through, namespace) == [plain[1], plain[0], plain[2]]


def test_a_silent_watch_ends_when_it_is_healed(proxy, through, client, namespace):
    """Nothing is said although something is there; afterwards the next watch says it."""
    create(client, namespace, "a")
    proxy.add(lambda call: call.is_watch, Silence())
    with (
        pytest.raises(httpx.ReadTimeout),
        through.stream("GET", maps(namespace), params={"watch": "true"}, timeout=1) as events,
    ):
        next(events.iter_lines())
    proxy.heal()
    assert seen(through, namespace) == ["a"]


def test_a_delay_comes_late(proxy, through, client, namespace):
    """The answer is the server's, after the time that was asked for."""
    proxy.add(lambda call: call.path.endswith("/late"), Delay(0.5), times=1)
    answer = through.get(maps(namespace, "late"))
    assert answer.status_code == 404
    assert answer.elapsed.total_seconds() >= 0.5


def test_leases_and_events_are_no_writes():
    """They come all the time: counting them would make the k-th write another one each run."""
    assert not Call("PUT", "/apis/coordination.k8s.io/v1/namespaces/x/leases/y").is_write
    assert not Call("POST", "/apis/events.k8s.io/v1/namespaces/x/events").is_write
    assert Call("PATCH", "/apis/apps/v1/namespaces/x/deployments/y/scale").is_write
