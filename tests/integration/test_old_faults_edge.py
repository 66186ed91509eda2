"""Old faults (contract.md 10) at the edge, over real processes: what only the whole chain can show.

4, 5, 7d, 15c and short forms of others stand in test_gateway.py, 6b and 13d in test_admin.py. Figures are printed:
`pytest -s`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from services.schema.tiers import BUILT_IN, Policy, Tier, TiersSpec
from tests.harness.fleet import Fleet, Node
from tests.harness.stores import Database, ValkeyServer
from tests.harness.wait import eventually
from tests.integration.upstreams import read_request

LOGIN = "/api/v1/auth/login"
DAY_S = 86_400
WRONG = "wrong"


def anonymous_of(quota: int) -> TiersSpec:
    """The built-in document, but `quota` anonymous requests a day: no window ends during a test."""
    tier = Tier(
        name="anonymous", criticality="sheddable", policies=(Policy(name="anonymous", quota=quota, window=DAY_S),)
    )
    return BUILT_IN.spec.model_copy(update={"tiers": (tier, *BUILT_IN.spec.tiers[1:])})


async def scrape(fleet: Fleet, node: Node) -> dict[str, float]:
    """Every sample of a process: 'name{labels}' → value."""
    async with fleet.control(node) as control:
        text = await control.metrics()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def total(fleet: Fleet, component: str, pattern: str) -> float:
    """The samples of `<component>_<pattern>` added up over its processes."""
    found = [await scrape(fleet, node) for node in fleet.of(component)]
    wanted = re.compile(f"{component}_{pattern}")
    return sum(value for samples in found for name, value in samples.items() if wanted.match(name))


# ------------------------------------------------------------------------------------------------------------ 1, 13c


@pytest.fixture
async def chain(database: Database, valkey: ValkeyServer) -> AsyncIterator[Fleet]:
    """Two of each, 1 000 anonymous requests a day."""
    async with Fleet(database, valkey, gateways=2, balancers=2, apis=2, tiers=anonymous_of(1000)) as fleet:
        yield fleet


async def test_old_fault_1a(database: Database, valkey: ValkeyServer) -> None:
    """Over 100 requests to one gateway `servedBy` takes every api's id."""
    async with Fleet(database, valkey, apis=3) as fleet, fleet.client() as http:
        served = [(await http.get("/api/v1/resources/1")).json()["servedBy"] for _ in range(100)]
        print(f"servedBy: {dict(Counter(served))}")
        assert set(served) == {node.id for node in fleet.api_nodes}


async def test_old_fault_1b(chain: Fleet) -> None:
    """One request through the chain lowers the quota by exactly its cost, once, through whichever gateway, and also
    when a balancer had to try twice because an api died.
    """
    clients = [chain.client(node=node) for node in chain.gateway_nodes]
    costs = {"/api/v1/status": 1, "/api/v1/resources/1": 1, "/api/v1/external": 2, "/health": 0, "/nowhere": 1}
    spent = asked = 0

    async def ask(path: str, cost: int) -> None:
        nonlocal spent, asked
        answer = await clients[asked % 2].get(path)
        spent, asked = spent + cost, asked + 1
        left = answer.headers.get("x-ratelimit-remaining")
        assert left == (str(1000 - spent) if cost else None), path

    for _ in range(4):
        for path, cost in costs.items():
            await ask(path, cost)
    await chain.kill(chain.api_nodes[0], publish=False)
    for _ in range(20):
        await ask("/api/v1/status", 1)
    retries = await total(chain, "balancer", "retries_total")
    print(f"{asked} requests cost {spent}; {retries:.0f} of them tried twice")
    assert retries >= 1
    for http in clients:
        await http.aclose()


async def test_old_fault_13c_every_process_counts_a_request_once(chain: Fleet) -> None:
    """N requests raise each gateway's counter by what it got, and the balancers' and the apis' by N together."""
    clients = [chain.client(node=node) for node in chain.gateway_nodes]
    patterns = {
        "gateway": r'http_requests_total\{method="GET",route="/api/v1/info",status="200"\}',
        "balancer": r'http_requests_total\{method="GET",status="200"\}',
        "api": r'http_requests_total\{method="GET",route="/api/v1/info",status="200"\}',
    }
    before = {component: await total(chain, component, pattern) for component, pattern in patterns.items()}
    for number in range(60):
        assert (await clients[number % 3 == 0].get("/api/v1/info")).status_code == 200
    name = 'gateway_http_requests_total{method="GET",route="/api/v1/info",status="200"}'
    assert [(await scrape(chain, node))[name] for node in chain.gateway_nodes] == [40, 20]
    raised = {component: await total(chain, component, patterns[component]) - n for component, n in before.items()}
    print(f"60 requests raised {raised}")
    assert raised == {"gateway": 60, "balancer": 60, "api": 60}
    durations = await total(chain, "gateway", r'http_request_duration_seconds_count\{method="GET",route="/api/v1/info"')
    assert durations == 60
    for http in clients:
        await http.aclose()


# ---------------------------------------------------------------------------------------------------------------- 7a


async def test_old_fault_7a_login_limits(database: Database, valkey: ValkeyServer) -> None:
    """Through the chain: the 6th wrong password of an account from one network is 429 by an api, the 21st login in a
    minute 429 by the gateway, both without an argon2; another network logs in.
    """
    async with (
        Fleet(database, valkey, apis=2) as fleet,
        fleet.client(source="127.0.0.31") as http,
        fleet.client(source="127.0.0.32") as elsewhere,
    ):
        await eventually(lambda: time.time() % 60 < 50, 11, "a minute long enough for 21 logins")

        async def log_in(email: str, password: str = WRONG, by: httpx.AsyncClient = http) -> httpx.Response:
            return await by.post(LOGIN, json={"email": email, "password": password})

        async def hashed() -> float:
            return await total(fleet, "api", "argon2_seconds_count")

        assert [(await log_in("user@example.com")).status_code for _ in range(5)] == [401] * 5
        assert await hashed() == 5
        sixth, right = await log_in("user@example.com"), await log_in("user@example.com", "user123")
        assert (sixth.status_code, right.status_code) == (429, 429)
        assert sixth.json()["violated-policies"] == ["login-pair"]
        assert sixth.headers["x-served-by"].startswith("api-")
        assert await hashed() == 5
        others = [(await log_in(f"nobody-{n}@example.com")).status_code for n in range(13)]
        assert others == [401] * 13
        assert await hashed() == 18
        refused = await log_in("admin@example.com", "admin123")
        assert (refused.status_code, refused.headers["x-served-by"]) == (429, "gateway-1")
        assert refused.json()["violated-policies"] == ["login-ip"]
        assert 1 <= int(refused.headers["retry-after"]) <= 65
        assert await hashed() == 18
        assert (await log_in("user@example.com", "user123", elsewhere)).status_code == 200
        print(
            f"6th: {sixth.headers['retry-after']} s, 21st: {refused.headers['retry-after']} s, 18 hashes of 22 logins"
        )


# --------------------------------------------------------------------------------------------------------------- 10h

BLOCK = random.Random(10).randbytes(1 << 20)
BLOCKS = 100
DOUBLES = b'{"name":"a","name":"b", "n":1.0e0,\r\n"name":"\xc3\xa9"}'
REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Set-Cookie: a=1; Path=/\r\nX-Kept: yes\r\nSet-Cookie: b=2; Path=/, x\r\n"
    b"Connection: X-Internal\r\nX-Internal: secret\r\nKeep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\n\r\n"
)


@dataclass(slots=True)
class Recorder:
    """An upstream that keeps what it got; `/api/v1/resources/2` is 100 MiB, anything else has two cookies."""

    heads: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    written: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await read_request(reader)
                if request.path == "/ready":
                    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"status":"ready"}')
                elif request.path == "/api/v1/resources/2":
                    await self._much(writer)
                else:
                    self.heads.append(request.headers)
                    self.bodies.append(request.body)
                    writer.write(REPLY % len(DOUBLES) + DOUBLES)
                await writer.drain()
        writer.close()

    async def _much(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (BLOCKS * len(BLOCK)))
        for _ in range(BLOCKS):
            writer.write(BLOCK)
            await writer.drain()
            self.written += len(BLOCK)


@contextlib.asynccontextmanager
async def recorded(database: Database, valkey: ValkeyServer) -> AsyncIterator[tuple[Fleet, Recorder]]:
    """Gateway and balancer before a Recorder."""
    recorder = Recorder()
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    env = {"balancer": {"API_SERVERS": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}}
    try:
        async with Fleet(database, valkey, apis=0, env=env) as fleet:
            yield fleet, recorder
    finally:
        server.close()


async def talk(node: Node, request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer to a request that says `Connection: close`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(-1), 20)
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


async def test_old_fault_10h_bodies_and_headers(database: Database, valkey: ValkeyServer) -> None:
    """Binary bodies, framed by length or in chunks, and JSON with a name twice pass both proxies byte for byte; so do
    two Set-Cookie lines; hop-by-hop fields and those that Connection names end at the hop, in both directions, but
    naming a field of ours does not strip it.
    """
    async with recorded(database, valkey) as (fleet, recorder):
        key = (await fleet.keys())["pro"]
        head = (
            f"POST /api/v1/resources HTTP/1.1\r\nHost: test\r\nX-API-Key: {key}\r\nX-Own: yes\r\n"
            "Connection: close, X-Hop, X-Gateway-Identity, X-Client-IP\r\nX-Hop: secret\r\nKeep-Alive: timeout=9\r\n"
            "TE: trailers\r\nProxy-Connection: keep-alive\r\nX-Gateway-Identity: v1.forged.forged\r\n"
        ).encode()
        binary = bytes(range(256)) * 100 + BLOCK[:900_000]
        pieces = [binary[at : at + 7919] for at in range(0, len(binary), 7919)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        for body in (binary, DOUBLES, b""):
            answer = await talk(fleet.gateway_nodes[0], head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert recorder.bodies[-1] == body
            assert answer[1] == DOUBLES
        answer = await talk(fleet.gateway_nodes[0], head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert recorder.bodies[-1] == binary
        lines = answer[0].split(b"\r\n")
        assert lines[0] == b"HTTP/1.1 200 OK"
        assert [line for line in lines if line.lower().startswith(b"set-cookie")] == [
            b"Set-Cookie: a=1; Path=/",
            b"Set-Cookie: b=2; Path=/, x",
        ]
        names = {line.partition(b":")[0].lower() for line in lines[1:]}
        assert b"x-kept" in names
        assert not names & {b"x-internal", b"keep-alive", b"proxy-connection"}
        assert [line for line in lines if line.lower().startswith(b"connection")] == [b"Connection: close"]
        for seen in recorder.heads:
            assert not seen.keys() & {"x-hop", "keep-alive", "te", "proxy-connection", "x-api-key"}
            assert (seen["x-own"], seen["x-client-ip"]) == ("yes", "127.0.0.1")
            assert seen["x-gateway-identity"].startswith("v1.ey")
            assert "close" not in seen.get("connection", "")
        print(f"{len(recorder.bodies)} bodies, up to {len(binary)} bytes, unchanged")


def peak_mib(node: Node) -> float:
    """The most memory a process ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{node.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


async def test_old_fault_10h_100_mib(database: Database, valkey: ValkeyServer) -> None:
    """A 100 MiB answer arrives byte for byte and unbuffered: while the client does not read, the upstream cannot
    write on; neither proxy ever holds more than a few MiB of it.
    """
    async with recorded(database, valkey) as (fleet, recorder):
        nodes = [*fleet.gateway_nodes, *fleet.balancer_nodes]
        before = [peak_mib(node) for node in nodes]
        reader, writer = await asyncio.open_connection("127.0.0.1", nodes[0].port)
        writer.write(b"GET /api/v1/resources/2 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert b"Content-Length: 104857600\r\n" in head
        last: list[int] = []

        def stalled() -> bool:
            last.append(recorder.written)
            return len(last) > 15 and last[-1] == last[-15]

        await eventually(stalled, 10, "the upstream waits for the client")
        held = recorder.written / (1 << 20)
        started, digest, size = time.monotonic(), hashlib.sha256(), 0
        while piece := await asyncio.wait_for(reader.read(1 << 18), 10):
            digest.update(piece)
            size += len(piece)
        took = time.monotonic() - started
        writer.close()
        await writer.wait_closed()
        assert size == BLOCKS << 20
        expected = hashlib.sha256()
        for _ in range(BLOCKS):
            expected.update(BLOCK)
        assert digest.digest() == expected.digest()
        grown = [peak_mib(node) - was for node, was in zip(nodes, before, strict=True)]
        print(f"stalled at {held:.0f} MiB (sockets' buffers), 100 MiB in {took:.2f} s, peak memory +{grown} MiB")
        assert held < 50
        assert max(grown) < 16


# ---------------------------------------------------------------------------------------------------------- 13a, 13e

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "MKCOL", "LOCK", "PURGE", "SEARCH")


async def burst(node: Node, source: str, requests: list[tuple[str, str]]) -> Counter[str]:
    """Statuses of requests (method, path) pipelined over one connection from `source`."""
    data = [f"{method} {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n" for method, path in requests]
    data[-1] += "Connection: close\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port, local_addr=(source, 0))
    writer.write("\r\n".join((*data, "")).encode())
    answers = await asyncio.wait_for(reader.read(-1), 30)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return Counter(status.decode() for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers))


async def strangers(node: Node, source: str, start: int, count: int) -> Counter[str]:
    """`count` paths nobody knows, each another one, by ten methods; and methods that exist nowhere."""
    paths = [(METHODS[n % len(METHODS)], f"/{n % 7}/nowhere/{n}?q={n}") for n in range(start, start + count)]
    found: Counter[str] = Counter()
    for at in range(0, count, 400):
        batches = [paths[i : i + 50] for i in range(at, min(at + 400, count), 50)]
        batches += [[(f"METHOD{start + at}", f"/api/v1/info/{at}")]]
        for statuses in await asyncio.gather(*(burst(node, source, batch) for batch in batches)):
            found += statuses
    return found


async def test_old_fault_13a_ten_thousand_paths(database: Database, valkey: ValkeyServer) -> None:
    """10 000 different unknown paths and made-up methods, of which each process sees its part, add no series beyond
    those of the first 1 200; no label has anything of a path; all exposition parses, as text and as OpenMetrics.
    """
    async with Fleet(database, valkey, apis=1, tiers=anonymous_of(800)) as fleet:
        node, started = fleet.gateway_nodes[0], time.monotonic()

        async def series() -> set[str]:
            return {f"{n.id} {name}" for n in fleet.nodes for name in await scrape(fleet, n)}

        await series()
        first = await strangers(node, "127.0.0.41", 0, 1200)
        before = await series()
        statuses = await strangers(node, "127.0.0.42", 1200, 8800)
        after = await series()
        print(f"{first} then {statuses} in {time.monotonic() - started:.1f} s: {len(before)} → {len(after)} series")
        assert sum((first + statuses).values()) >= 10_000
        assert statuses["404"] >= 700
        assert after - before == set()
        assert not [name for name in after if "nowhere" in name or "METHOD" in name or "PROPFIND" in name]
        async with httpx.AsyncClient(trust_env=False) as http:
            for process in fleet.nodes:
                await expose(fleet, http, process)


async def expose(fleet: Fleet, http: httpx.AsyncClient, node: Node) -> None:
    """What `promtool check metrics` looks at: it parses, HELP and TYPE on each, no sample twice, names as they ought
    to be.
    """
    headers = {"authorization": f"Bearer {fleet.plan.secrets.control_token}"}
    text = (await http.get(f"{node.control_url}/metrics", headers=headers)).text
    opened = headers | {"accept": "application/openmetrics-text"}
    other = (await http.get(f"{node.control_url}/metrics", headers=opened)).text
    families = list(parse_text(text))
    names = {f.name for f in parse_openmetrics(other)}  # type: ignore[no-untyped-call]  # prometheus_client has no types there
    assert names >= {f"{node.component}_http_requests"}
    assert len(families) > 10
    samples = [(s.name, *sorted(s.labels.items())) for family in families for s in family.samples]
    assert len(samples) == len(set(samples)) <= 5000
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.documentation, family.name
        assert family.type in {"counter", "gauge", "histogram", "info", "summary"}, family.name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name), family.name
        assert not re.search(r"_(ms|millis|milliseconds|kib|mib)(_|$)", family.name)
        if family.type == "counter":
            assert all(s.name.endswith(("_total", "_created")) for s in family.samples), family.name


async def test_old_fault_13e_who_may_see_the_figures(database: Database, valkey: ValkeyServer) -> None:
    """On the public port `/metrics` and `/lb/status` are 401 for nobody, 403 for a user and for a key without the
    scope, 200 for an admin, and never answered on the inner ports; `PUBLIC_OPS=open` shows them to anybody.
    """
    paths = ("/metrics", "/lb/status")
    closed = {component: {"PUBLIC_OPS": "auth"} for component in ("gateway", "balancer", "api")}
    async with Fleet(database, valkey, apis=1, env=closed) as fleet, fleet.client() as http:
        tokens = {}
        for who in ("user", "admin"):
            answer = await http.post(LOGIN, json={"email": f"{who}@example.com", "password": f"{who}123"})
            tokens[who] = {"authorization": f"Bearer {answer.json()['token']}"}
        callers = {"nobody": {}, "key": {"x-api-key": (await fleet.keys())["pro"]}, **tokens}
        found = {
            who: [(await http.get(path, headers=headers)).status_code for path in paths]
            for who, headers in callers.items()
        }
        print(f"auth: {found}")
        assert found == {"nobody": [401, 401], "key": [403, 403], "user": [403, 403], "admin": [200, 200]}
        unasked = await http.get("/metrics", headers={"x-gateway-identity": "v1.e30.AAAA"})
        assert unasked.headers["www-authenticate"].startswith("Bearer")
        for node in (*fleet.balancer_nodes, *fleet.api_nodes):
            async with fleet.client(node=node) as inner:
                assert (await inner.get("/metrics")).status_code == 404, node.id
    opened = {component: {"PUBLIC_OPS": "open"} for component in ("gateway", "balancer", "api")}
    async with Fleet(database, valkey, apis=1, env=opened) as fleet, fleet.client() as http:
        assert [(await http.get(path)).status_code for path in paths] == [200, 200]
        families = {family.name for family in parse_text((await http.get("/metrics")).text)}
        assert "gateway_http_requests" in families
