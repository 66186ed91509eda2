"""Spans from real processes to a collector: one request is one connected trace; a collector that is away costs nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.harness.collector import Collector, Received, collector
from tests.harness.fleet import Fleet, Node
from tests.harness.http import client
from tests.harness.stores import Database, ValkeyServer
from tests.harness.wait import eventually
from tests.load.bench.processes import free_ports

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
RESOURCES = "/api/v1/resources"
ARRIVED_S = 10.0
MS_NS = 1_000_000


def exporting(url: str, sample: str = "1") -> Mapping[str, Mapping[str, str]]:
    every = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
    return {
        "gateway": {**every, "TRACE_SAMPLE": sample, "TRUSTED_PROXIES": "127.0.0.9/32"},
        "balancer": every,
        "api": every,
    }


async def whole(found: Collector, trace_id: str, names: set[str]) -> list[Received]:
    """The trace once it has spans of all these names."""

    def arrived() -> list[Received] | None:
        spans = found.trace(trace_id)
        assert names <= {one.name for one in spans}, {one.name for one in spans}
        return spans

    spans: list[Received] = await eventually(arrived, ARRIVED_S, f"the trace has {names}", 0.1)
    return spans


async def counts(node: Node) -> dict[str, float]:
    """`<p>_spans_total` by outcome."""
    async with client(node.control_url) as http:
        answer = await http.get("/metrics")
    found = re.findall(rf'^{node.component}_spans_total{{outcome="(\w+)"}} (\S+)$', answer.text, re.MULTILINE)
    return {outcome: float(value) for outcome, value in found}


async def test_one_request_is_one_connected_trace(database: Database, valkey: ValkeyServer) -> None:
    """Gateway, balancer and api: every span but the root has its parent in the trace and lies within it; the caller's own
    span is the root's parent.
    """
    with collector() as found:
        async with (
            Fleet(database, valkey, apis=1, env=exporting(found.url)) as fleet,
            fleet.client("127.0.0.9") as http,
        ):
            answer = await http.get(RESOURCES, headers={"traceparent": PARENT})
            assert answer.status_code == 200
            spans = await whole(
                found, TRACE, {"gateway", "limit", "forward", "balancer", "queue", "pick", "attempt", "handler"}
            )
            by_id = {one.id: one for one in spans}
            (root,) = [one for one in spans if one.parent not in by_id]
            assert (root.name, root.parent) == ("gateway", PARENT[36:52])
            parents = {one.name: by_id[one.parent].name for one in spans if one is not root}
            calls = {name: above for name, above in parents.items() if name.startswith(("redis ", "sql "))}
            assert parents == calls | {
                "limit": "gateway",
                "forward": "gateway",
                "balancer": "gateway",
                "queue": "balancer",
                "pick": "balancer",
                "attempt": "balancer",
                "handler": "balancer",
            }
            assert set(calls.values()) == {"handler"}
            assert {name.split()[0] for name in calls} == {"redis", "sql"}
            check_times(by_id, root)
            check_words(spans, fleet)


def check_times(by_id: Mapping[str, Received], root: Received) -> None:
    """A child begins within its parent, to a millisecond; a stage ends with its exchange. What an api does after its answer
    may outlast the balancer.
    """
    for one in by_id.values():
        above = by_id.get(one.parent)
        assert one.span.start_time_unix_nano <= one.span.end_time_unix_nano
        if above is not None:
            assert above.span.start_time_unix_nano - MS_NS <= one.span.start_time_unix_nano, one.name
            assert one.span.start_time_unix_nano <= above.span.end_time_unix_nano + MS_NS, one.name
            if one.service == above.service != "api":
                assert one.span.end_time_unix_nano <= above.span.end_time_unix_nano + MS_NS, one.name
    assert not root.failed


def check_words(spans: list[Received], fleet: Fleet) -> None:
    """Who sent it, the route, the status, and which process was chosen."""
    named = {one.name: one for one in spans}
    assert {one.service for one in spans} == {"gateway", "balancer", "api"}
    assert named["handler"].instance == fleet.api_nodes[0].id
    for name in ("gateway", "handler"):
        said = named[name].attributes
        assert (said["http.request.method"], said["http.route"], said["http.response.status_code"]) == (
            "GET",
            RESOURCES,
            200,
        )
    assert named["forward"].attributes == {"scalableapi.endpoint": fleet.balancer_nodes[0].id}
    assert named["attempt"].attributes == {"scalableapi.endpoint": fleet.api_nodes[0].id}


async def test_a_try_elsewhere_is_another_attempt(database: Database, valkey: ValkeyServer) -> None:
    """An api that hangs up: two attempts at two endpoints, one pick before each."""
    with collector() as found:
        async with (
            Fleet(database, valkey, apis=2, env=exporting(found.url)) as fleet,
            fleet.client("127.0.0.9") as http,
        ):
            await fleet.kill(fleet.api_nodes[0], publish=False)
            twice = []
            for number in range(1, 20):
                trace_id = f"{number:032x}"
                answer = await http.get("/api/v1/status", headers={"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"})
                assert answer.status_code == 200
                spans = await whole(found, trace_id, {"handler"})
                attempts = [one for one in spans if one.name == "attempt"]
                if len(attempts) == 2:
                    twice.append(spans)
                    break
            assert twice, "no request met the dead api"
            tried = [one.attributes["scalableapi.endpoint"] for one in twice[0] if one.name == "attempt"]
            assert len(set(tried)) == 2
            assert len([one for one in twice[0] if one.name == "pick"]) == 2


async def test_only_what_is_sampled_is_sent(database: Database, valkey: ValkeyServer) -> None:
    """A stranger cannot have us sample: only a trusted caller's flag counts, else TRACE_SAMPLE decides, for all processes."""
    with collector() as found:
        async with Fleet(database, valkey, apis=1, env=exporting(found.url, sample="0")) as fleet:
            async with fleet.client() as stranger, fleet.client("127.0.0.9") as trusted:
                for _ in range(20):
                    assert (await stranger.get(RESOURCES, headers={"traceparent": PARENT})).status_code == 200
                last = PARENT.replace(TRACE, "f" * 32)
                assert (await trusted.get(RESOURCES, headers={"traceparent": last})).status_code == 200
            await whole(found, "f" * 32, {"gateway", "balancer", "handler"})
            assert {one.trace_id for one in found.spans} == {"f" * 32}


async def test_a_collector_that_is_away_costs_spans_alone(database: Database, valkey: ValkeyServer) -> None:
    """Every request is answered, the lost spans are counted in each process, and each still ends with 0 when told to."""
    (nobody,) = free_ports(1)
    env = {
        name: {**own, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        for name, own in exporting(f"http://127.0.0.1:{nobody}").items()
    }
    async with Fleet(database, valkey, apis=1, env=env) as fleet:
        async with fleet.client() as http:
            answers = [await http.get(RESOURCES) for _ in range(50)]
        assert {answer.status_code for answer in answers} == {200}
        for node in list(fleet.nodes):

            async def lost(node: Node = node) -> bool:
                return (await counts(node))["lost"] >= 50

            await eventually(lost, ARRIVED_S, f"{node.id} counts what was lost", 0.2)
        assert [await fleet.term(node) for node in reversed(list(fleet.nodes))] == [0, 0, 0]


async def test_without_a_collector_there_are_no_spans(database: Database, valkey: ValkeyServer) -> None:
    """No endpoint: nothing is counted, nothing imported, and `traceparent` is passed on all the same."""
    async with Fleet(database, valkey, apis=1) as fleet:
        async with fleet.client() as http:
            assert (await http.get(RESOURCES, headers={"traceparent": PARENT})).status_code == 200
        for node in fleet.nodes:
            assert await counts(node) == {}
