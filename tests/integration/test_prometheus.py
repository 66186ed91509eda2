"""A real Prometheus scrapes `scalable-api up` under demo traffic and an operator, and reads every rule and every panel.

What it shows: no alert and no panel asks for a series that no process has, each expression evaluates, and panels have
something to show. Kubernetes' part, the ServiceMonitor that gives these targets their labels, is a chart's test.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml

from services.cli.embedded.child import end, spawn
from services.cli.instance import CONTROLLER_FILE
from services.core.credentials import make_key
from tests import dashboards
from tests.harness import stores
from tests.harness.http import client
from tests.harness.prometheus import Server, metrics, prometheus, promtool, rules, without_variables
from tests.harness.up import new_home, up
from tests.harness.wait import eventually
from tests.load.bench.processes import free_ports

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]
COMPONENTS = ("gateway", "balancer", "api")
UNKNOWN_KEY = make_key("test", bytes(10), bytes(32))
FILLED_S = 30.0  # a rate wants two scrapes; demo traffic has its phases
PANELS = {
    f"{page.stem}: {panel['title']}": [target["expr"] for target in panel["targets"]]
    for page in sorted(dashboards.FOLDER.glob("*.json"))
    for panel in json.loads(page.read_text())["panels"]
}
QUIET = {
    "balancer: Attempts by outcome",
    "balancer: Calls that breakers refused",
    "balancer: Ejections",
    "balancer: Retries by reason",
    "operator: Acknowledgements",
    "operator: Conditions that are not well",
    "operator: Decision to write",
    "operator: Errors",
    "operator: Pushes by outcome",
    "operator: Rotations",
    "slo: Slowest routes",
    "slo: Worst routes",
}
"""Panels that are empty while nothing goes wrong and nobody changes anything."""


@dataclass
class Scene:
    """`addresses` are control ports by instance; `texts` what each answers on /metrics."""

    server: Server
    addresses: dict[str, str]
    texts: dict[str, str]


@contextlib.contextmanager
def standby() -> Iterator[str]:
    """The operator's process where no API server answers: its control port has every series all the same."""
    with stores.folder() as folder:
        (port, nobody), file = free_ports(2), folder / "kubeconfig"
        file.write_text(yaml.safe_dump(kubeconfig(f"http://127.0.0.1:{nobody}")))
        env = {"KUBECONFIG": str(file), "HOST": "127.0.0.1", "CONTROL_PORT": str(port), "INSTANCE_ID": "operator-1"}
        process = spawn([sys.executable, "-m", "scalable_operator"], folder / "log", death=signal.SIGKILL, env=env)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            end(process, signal.SIGKILL, 5)


def kubeconfig(server: str) -> dict[str, Any]:
    parts = {"cluster": {"server": server}, "user": {}, "context": {"cluster": "c", "user": "u"}}
    lists = {f"{kind}s": [{"name": kind[0], kind: part}] for kind, part in parts.items()}
    return {"apiVersion": "v1", "kind": "Config", **lists, "current-context": "c"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    with new_home() as home, standby() as operator:
        async with up(home) as running:
            state = running.data / "state"
            controller = json.loads((state / CONTROLLER_FILE).read_text())["controlUrl"]
            addresses = {"operator-1": operator, "controller-1": controller.removeprefix("http://")}
            for component in COMPONENTS:
                entries = json.loads((state / "endpoints" / f"{component}.json").read_text())
                addresses |= {entry["id"]: entry["controlUrl"].removeprefix("http://") for entry in entries}
            targets = [(job_of(name), at, {"pod": name, "namespace": "demo"}) for name, at in addresses.items()]
            async with prometheus(targets) as server:
                await eventually(lambda: all_up(server, len(targets)), 20, "all targets are scraped", 0.5)
                await err(running.url)
                yield Scene(server, addresses, {name: await text(at) for name, at in addresses.items()})


async def err(url: str) -> None:
    """What demo traffic does not do at once: log in wrongly, ask for what is not there, with a wrong key, against HTTP's
    rules.
    """
    async with client(url) as http:
        wrong = {"email": "user@example.com", "password": "wrong"}
        assert (await http.post("/api/v1/auth/login", json=wrong)).status_code == 401
        assert (await http.get("/api/v1/resources/0")).status_code == 404
        assert (await http.get("/api/v1/status", headers={"x-api-key": UNKNOWN_KEY})).status_code == 401
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()


def job_of(instance: str) -> str:
    job = instance.rpartition("-")[0]
    return "operator" if job == "controller" else job


async def text(address: str) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:
        return (await http.get(f"http://{address}/metrics")).text


async def all_up(server: Server, count: int) -> bool:
    return len(await server.series("up == 1")) == count


def registered(text: str) -> set[str]:
    """Every series' name that a process can have, whether it has one now or not."""
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE):
        found |= {f"{name}_bucket", f"{name}_count", f"{name}_sum"} if kind == "histogram" else {name}
    return found


async def test_promtool_finds_nothing_to_say(scene: Scene) -> None:
    """Names, units, HELP and TYPE of every process are as Prometheus' own linter wants them."""
    for name, body in scene.texts.items():
        checked = promtool("check", "metrics", stdin=body)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, ""), name


async def test_alerts_and_panels_ask_for_what_is_there(scene: Scene) -> None:
    """Each series that a rule or a panel names is registered by a running process, or recorded by a rule."""
    there = set().union(*map(registered, scene.texts.values())) | {"up"}
    there |= {rule["record"] for rule in rules() if "record" in rule}
    asked = {f"rule {rule.get('alert', rule.get('record'))}": metrics(rule["expr"]) for rule in rules()}
    asked |= {name: set().union(*map(metrics, exprs)) for name, exprs in PANELS.items()}
    assert {name: names - there for name, names in asked.items() if names - there} == {}
    assert all(asked.values())


async def test_prometheus_evaluates_every_rule(scene: Scene) -> None:
    """None fails on what real processes say: no vector of twofold labels, no template that cannot be filled in."""

    async def evaluated() -> bool:
        groups = (await scene.server.ask("rules"))["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        assert len(found) == len(rules())
        return {(rule["health"], rule.get("lastError", "")) for rule in found} == {("ok", "")}

    await eventually(evaluated, 20, "every rule is evaluated", 0.5)


@pytest.mark.parametrize("name", PANELS)
async def test_a_panel_shows_something(scene: Scene, name: str) -> None:
    """Each query of it evaluates, and has a result once demo traffic has run through its phases."""
    for expr in map(without_variables, PANELS[name]):
        if name in QUIET:
            assert isinstance(await scene.server.series(expr), list)
        else:
            assert await eventually(partial(numbers, scene.server, expr), FILLED_S, f"{name}: {expr}", 0.5)


async def numbers(server: Server, expr: str) -> list[str]:
    return [one["value"][1] for one in await server.series(expr) if one["value"][1] != "NaN"]
