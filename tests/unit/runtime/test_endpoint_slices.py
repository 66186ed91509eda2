"""EndpointSlices against a real HTTP server that speaks list and watch: what is listed, and how a watch goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import certifi
import pytest

from services.runtime import endpoint_slices, endpoints
from services.runtime.discovery import Discovery, make_source
from services.runtime.endpoint_slices import Service, Slice, pause_s, service_of, slice_of
from services.runtime.endpoints import EndpointInfo
from services.runtime.kube_api import Cluster
from services.runtime.settings import BalancerSettings, load
from tests.harness.wait import eventually

Object = dict[str, Any]
SOURCE = "k8s:shop/api:http"


def pod(name: str, address: str, **conditions: bool) -> Object:
    target = {"kind": "Pod", "namespace": "shop", "name": name}
    return {"addresses": [address], "conditions": conditions, "targetRef": target}


def made(*pods: Object, name: str = "api-x", version: str = "5", **more: Any) -> Object:
    ports = [{"name": "http", "port": 3001, "protocol": "TCP"}]
    return {"metadata": {"name": name, "resourceVersion": version}, "addressType": "IPv4", "ports": ports,
            "endpoints": list(pods), **more}  # fmt: skip


def event(kind: str, item: Object) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


@dataclass
class Watch:
    """A watch that somebody holds open; the test says what goes over it."""

    query: dict[str, str]
    writer: asyncio.StreamWriter

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(b"%x\r\n%s\r\n" % (len(part), part))

    def end(self) -> None:
        """As the API server does after timeoutSeconds."""
        self.writer.write(b"0\r\n\r\n")

    def cut(self) -> None:
        self.writer.transport.abort()


@dataclass
class ApiServer:
    """Lists `items`; `refuse` is what the next requests get instead, by verb; `tokens` is who came."""

    items: list[Object] = field(default_factory=list)
    version: str = "10"
    refuse: list[tuple[str, int, str]] = field(default_factory=list)
    lists: int = 0
    watches: list[Watch] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                target = urlsplit(head.split()[1])
                query = {name: values[0] for name, values in parse_qs(target.query).items()}
                assert target.path == "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
                assert query["labelSelector"] == "kubernetes.io/service-name=api"
                self.answer("watch" if "watch" in query else "list", query, writer)
        writer.close()

    def answer(self, verb: str, query: dict[str, str], writer: asyncio.StreamWriter) -> None:
        self.lists += verb == "list"
        if self.refuse and self.refuse[0][0] == verb:
            _, status, body = self.refuse.pop(0)
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        elif verb == "list":
            body = json.dumps({"metadata": {"resourceVersion": self.version}, "items": self.items})
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            self.watches.append(Watch(query, writer))

    async def watched(self, number: int = 1) -> Watch:
        """The watch of that number, once it is there."""
        await eventually(lambda: len(self.watches) >= number, 3, f"watch {number} began")
        return self.watches[number - 1]


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_bytes(Path(certifi.where()).read_bytes())
    return tmp_path


@pytest.fixture
async def api_server(account: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    """One that listens, and is the cluster's as far as the source knows."""
    running = ApiServer(items=[made(pod("api-1", "10.0.0.1", ready=True))])
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    monkeypatch.setattr(endpoint_slices, "in_cluster", lambda: Cluster(running.url, account))
    monkeypatch.setattr(endpoint_slices, "PAUSE_S", 0.01)
    yield running
    server.close()
    for watch in running.watches:
        watch.writer.close()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reasons logged."""
    reasons: list[str] = []

    class Log:
        def warning(self, _event: str, **fields: Any) -> None:
            reasons.append(fields["reason"])

        def info(self, event: str, **_fields: Any) -> None:
            reasons.append(event)

    monkeypatch.setattr(endpoints, "log", Log())
    return reasons


@contextlib.asynccontextmanager
async def following(source: str = SOURCE) -> AsyncIterator[Discovery]:
    found = Discovery([source], lambda _found: None)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


def ids(found: Discovery) -> list[str]:
    return [one.id for one in found.current]


def shows(found: Discovery, *wanted: str) -> Callable[[], bool]:
    return lambda: ids(found) == list(wanted)


# ------------------------------------------------------------------------------------------------- what is listed


@pytest.mark.parametrize(
    ("conditions", "draining"),
    [
        ({}, False),
        ({"ready": True}, False),
        ({"ready": True, "serving": True, "terminating": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, True),
        ({"ready": False, "serving": False, "terminating": True}, True),
        ({"ready": True, "serving": False, "terminating": True}, True),  # publishNotReadyAddresses
        ({"ready": False, "serving": False, "terminating": False}, None),
        ({"ready": False}, None),
    ],
)
def test_conditions(conditions, draining):
    """Ready or unknown: there. Terminating: draining, until the slice forgets it. Otherwise not there."""
    found = slice_of(made(pod("api-1", "10.0.0.1", **conditions)), "http").endpoints
    assert [one.draining for one in found] == ([] if draining is None else [draining])


def test_a_pod_that_is_not_ready_is_known():
    """It is told apart: it may have been ready before."""
    found = slice_of(made(pod("api-1", "10.0.0.1", ready=False), pod("api-2", "10.0.0.2", ready=True)), "http")
    assert ([one.id for one in found.endpoints], [one.id for one in found.unready]) == (["api-2"], ["api-1"])


def test_an_endpoint_is_its_pod():
    """The id is the pod's name, the address its first one; the control port is the slice's port of that name."""
    item = made(pod("api-1", "10.0.0.1"), ports=[{"name": "http", "port": 3001}, {"name": "control", "port": 9180}])
    item["endpoints"][0]["addresses"].append("10.0.0.9")
    assert slice_of(item, "http").endpoints == (EndpointInfo("api-1", "10.0.0.1", 3001, "http://10.0.0.1:9180"),)
    assert slice_of(item, "control").endpoints[0].port == 9180


def test_ipv6_addresses_get_brackets_in_urls():
    """The host has none, the control URL has."""
    ports = [{"name": "http", "port": 3001}, {"name": "control", "port": 9180}]
    item = made(pod("api-1", "fd00::1"), addressType="IPv6", ports=ports)
    assert slice_of(item, "http").endpoints == (EndpointInfo("api-1", "fd00::1", 3001, "http://[fd00::1]:9180"),)


def test_without_a_pod_the_address_is_the_name():
    """A slice somebody wrote by hand: its host name, else host:port as with the other forms."""
    item = made({"addresses": ["10.0.0.1"], "hostname": "db"}, {"addresses": ["10.0.0.2"]})
    assert [one.id for one in slice_of(item, "http").endpoints] == ["db", "10.0.0.2:3001"]


@pytest.mark.parametrize(
    ("ports", "wanted", "found"),
    [
        ([{"name": "http", "port": 3001}], 3001, 3001),
        ([{"port": 3001}], 3001, 3001),
        ([{"name": "", "port": 3001}], 3001, 3001),
        (None, 9180, 9180),
        ([{"name": "http", "port": 3001}], 80, "http 3001"),
        ([{"name": "web", "port": 3001}, {"name": "control", "port": 9180}], "http", "web 3001, control 9180"),
        ([{"name": "http", "port": 3001, "protocol": "UDP"}], "http", "none"),
        (None, "http", "none"),
    ],
)
def test_ports(ports, wanted, found):
    """By name or by number; a slice without ports stands for all numbers; what is not there is told with what is."""
    got = slice_of(made(pod("api-1", "10.0.0.1"), ports=ports), wanted)
    assert (got.endpoints[0].port if got.endpoints else got.lacks) == found


def test_names_are_not_followed():
    """FQDN slices are the resolver's business (`dns:`)."""
    assert slice_of(made(pod("a", "a.test"), addressType="FQDN"), "http") == Slice()


@pytest.mark.parametrize(
    ("text", "service"),
    [
        ("shop/api:http", Service("shop", "api", "http")),
        ("shop/api:3001", Service("shop", "api", 3001)),
        ("s-1/a:8080-http", Service("s-1", "a", "8080-http")),
        ("shop/api:65536", None),
        ("shop/api:0", None),
        ("shop/api:", None),
        ("shop/api", None),
        ("api:http", None),
        ("a/b/c:http", None),
        ("shop/api:a-port-name-that-is-too-long", None),
    ],
)
def test_the_form(text, service):
    """namespace/service:port, the port a name or a number."""
    assert service_of(text) == service


def test_settings_take_the_form():
    """A process accepts it at start, cluster or not."""
    env = {"CONTROL_TOKEN": "x" * 20, "API_SERVERS": SOURCE}
    assert load(BalancerSettings, env).api_servers == (SOURCE,)


def test_pauses_grow_and_spread():
    """None after a good round; doubling to ten seconds; the draw spreads the upper half."""
    assert pause_s(0, 1) == 0
    assert [round(pause_s(n, 1), 3) for n in (1, 2, 3, 6, 7, 90)] == [0.2, 0.4, 0.8, 6.4, 10.0, 10.0]
    assert pause_s(1, 0) == 0.1


# ------------------------------------------------------------------------------------------------ list and watch


async def test_what_is_watched_arrives(api_server):
    """The list at start; then each event: a second slice, a change, a deletion. Doubles between slices count once."""
    async with following() as found:
        assert found.current == (EndpointInfo("api-1", "10.0.0.1", 3001),)
        watch = await api_server.watched()
        assert watch.query["resourceVersion"] == "10"
        assert 20 < int(watch.query["timeoutSeconds"]) < 40
        both = made(pod("api-1", "10.0.0.1"), pod("api-2", "10.0.0.2"), name="api-y")
        watch.send(event("ADDED", both))
        await eventually(shows(found, "api-1", "api-2"), 2, "a slice was added")
        gone = event("MODIFIED", made(pod("api-1", "10.0.0.1", ready=False, terminating=True)))
        watch.send(gone[:40], gone[40:])
        await eventually(lambda: found.current[0].draining, 2, "an event in two pieces was read")
        watch.send(event("DELETED", made()), event("DELETED", both))
        await eventually(shows(found), 2, "no endpoints are an answer")
        assert api_server.lists == 1


async def test_when_all_turn_red_those_that_served_stay(api_server):
    """Every pod not ready at once: those that were ready before are used, one that never was is not; as soon as one is
    ready again it alone is; a leaving one does not count as one that serves.
    """

    def pods(one: dict[str, Any], two: dict[str, Any]) -> bytes:
        started = pod("api-3", "10.0.0.3", ready=False)
        return event("MODIFIED", made(pod("api-1", "10.0.0.1", **one), pod("api-2", "10.0.0.2", **two), started))

    ready, red, leaving = {"ready": True}, {"ready": False}, {"ready": False, "terminating": True}
    async with following() as found:
        watch = await api_server.watched()
        for one, two, used in (
            (red, red, ["api-1"]),  # api-2 was never ready
            (red, ready, ["api-2"]),
            (red, red, ["api-1", "api-2"]),
            (ready, red, ["api-1"]),
            (leaving, red, ["api-1", "api-2"]),
        ):
            watch.send(pods(one, two))
            await eventually(shows(found, *used), 3, f"{used} are used")


async def test_it_resumes_where_the_last_watch_ended(api_server, told):
    """Ended by the server or cut: the next watch begins at the last version seen; no new list."""
    async with following() as found:
        (await api_server.watched(1)).send(event("MODIFIED", made(pod("api-2", "10.0.0.2"), version="11")))
        await eventually(shows(found, "api-2"), 2, "the change arrived")
        api_server.watches[0].end()
        second = await api_server.watched(2)
        assert second.query["resourceVersion"] == "11"
        second.send(event("MODIFIED", made(pod("api-3", "10.0.0.3"), version="17")))
        await eventually(shows(found, "api-3"), 2, "the change arrived")
        second.cut()
        assert (await api_server.watched(3)).query["resourceVersion"] == "17"
        assert ids(found) == ["api-3"]
    assert (api_server.lists, told) == (1, [])


async def test_gone_means_a_new_list(api_server, told):
    """410 as an event or as the answer: listed again, silently; what was missed is there."""
    async with following() as found:
        api_server.items = [made(pod("api-3", "10.0.0.3"))]
        watch = await api_server.watched()
        watch.send(event("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"}))
        await eventually(shows(found, "api-3"), 2, "it was listed again")
        api_server.items, api_server.version = [made(pod("api-4", "10.0.0.4"))], "30"
        api_server.refuse = [("watch", 410, '{"message":"too old"}')]
        (await api_server.watched(2)).end()
        await eventually(shows(found, "api-4"), 2, "and again")
        assert (await api_server.watched(3)).query["resourceVersion"] == "30"
    assert (api_server.lists, told) == (3, [])


async def test_a_refusal_keeps_the_last_answer(api_server, told):
    """403 is told in the API server's words, once; when it agrees again, that is told too."""
    async with following() as found:
        forbidden = ("list", 403, '{"message":"endpointslices is forbidden"}')
        api_server.refuse = [("watch", 500, "oops"), forbidden, forbidden, forbidden]
        (await api_server.watched()).end()
        await api_server.watched(2)
        assert ids(found) == ["api-1"]
    assert told == [
        "the API server answered 500: oops",
        "the API server answered 403: endpointslices is forbidden",
        "endpoints can be read again",
    ]


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b'{"type":"ADDED"}\n', event("ADDED", {"metadata": {}}), event("ADDED", made({"addresses": []}))])  # fmt: skip
async def test_what_is_no_event_means_a_new_list(api_server, told, line):
    """Nonsense takes nobody out: it is told, and the truth asked for."""
    async with following() as found:
        (await api_server.watched()).send(line)
        await api_server.watched(2)
        assert ids(found) == ["api-1"]
    assert (api_server.lists, len(told)) == (2, 2)


async def test_it_is_listed_anew_from_time_to_time(api_server, monkeypatch):
    """A watch may be mute although things change (an etcd that was restored): a list finds them all the same."""
    async with following() as found:
        watch = await api_server.watched()
        api_server.items = [made(pod("api-9", "10.0.0.9"))]
        monkeypatch.setattr(endpoint_slices, "LIST_S", 0.0)
        watch.end()
        await eventually(shows(found, "api-9"), 2, "it was listed")
        assert ids(found) == ["api-9"]


async def test_a_silent_watch_is_given_up(api_server, monkeypatch):
    """A connection that died without a word is found out soon after the end that was asked for."""
    monkeypatch.setattr(endpoint_slices, "WATCH_S", 0)
    monkeypatch.setattr(endpoint_slices, "SILENCE_S", 0.05)
    async with following() as found:
        await api_server.watched(3)
        assert ids(found) == ["api-1"]
    assert api_server.lists == 1


async def test_the_token_is_read_anew(api_server, account):
    """The kubelet replaces it: each round carries the one of that moment."""
    async with following():
        watch = await api_server.watched()
        (account / "token").write_text("second")
        watch.end()
        await api_server.watched(2)
    assert [head.lower().split("authorization: ")[1].split("\r\n")[0] for head in api_server.heads] == [
        "bearer first",
        "bearer first",
        "bearer second",
    ]


async def test_a_dead_api_server_does_not_hold_up_the_start(api_server, account, told, monkeypatch):
    """Nobody listens, or nobody answers: the start goes on, the reason is told, and the answer is taken when it comes."""
    monkeypatch.setattr(endpoint_slices, "FIRST_WAIT_S", 0.1)
    alive = api_server.url
    writers: list[asyncio.StreamWriter] = []
    mute = await asyncio.start_server(lambda _reader, writer: writers.append(writer), "127.0.0.1", 0)
    api_server.url = f"http://127.0.0.1:{mute.sockets[0].getsockname()[1]}"
    source = make_source(SOURCE)
    await source.first()
    mute.close()
    for writer in writers:
        writer.close()
    monkeypatch.setattr(endpoint_slices, "FIRST_WAIT_S", 5)
    async with following() as found:
        assert found.current == ()
        api_server.url = alive
        await eventually(shows(found, "api-1"), 5, "it is asked again")
    assert told[0] == "the API server did not answer in time"
    assert "ConnectError" in told[1]


async def test_a_port_that_is_not_there_keeps_the_last_answer(api_server, told):
    """A renamed port is told with those there are."""
    async with following() as found:
        ports = [{"name": "web", "port": 3001}]
        (await api_server.watched()).send(event("MODIFIED", made(pod("api-1", "10.0.0.1"), ports=ports)))
        await eventually(lambda: told, 2, "it was told")
        assert ids(found) == ["api-1"]
    assert told == ["the pods have no TCP port http; they have web 3001"]


async def test_outside_a_cluster_it_says_so(told, monkeypatch):
    """The process runs; its readiness tells that there is no next hop, its log why."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    async with following() as found:
        assert found.current == ()
    assert told == ["not in a cluster: KUBERNETES_SERVICE_HOST is not set"]
