"""A fleet of real processes for a test: gateways, balancers, apis over real stores, on free loopback ports.

async with Fleet(database, valkey, gateways=2, balancers=2, apis=2, env={"api": {"CACHE_TTL": "5"}}) as fleet:
    async with fleet.client() as http: await http.get("/api/v1/status")
    await fleet.kill(fleet.apis[0])

Processes find each other by the endpoint files `up` uses; `kill`, `term`, `stop`, `cont` send signals by pid;
`start` adds one. Everything ends with the block, and with this process if it is killed (PR_SET_PDEATHSIG,
SUPERVISOR_FD).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from services.cli.instance import write_private
from services.cli.up.environment import COMPONENTS, Plan, Secrets, environment, secrets_of
from services.controller.backends.launch import Child, ChildEndedError, Launcher
from services.runtime import migrate
from services.runtime.http_client import ControlClient
from services.schema.tiers import BUILT_IN, TiersDocument, TiersSpec, document, render
from tests.harness.http import client
from tests.harness.stores import Database, ValkeyServer
from tests.harness.wait import eventually

START_S = 20.0
END_S = 20.0


@dataclass(slots=True)
class Node:
    """One process. `port` and `control_port` are 0 until it listens."""

    child: Child

    @property
    def component(self) -> str:
        return self.child.component

    @property
    def id(self) -> str:
        return self.child.instance

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def log(self) -> Path:
        return self.child.log

    @property
    def port(self) -> int:
        return self.child.hello.port if self.child.hello else 0

    @property
    def control_port(self) -> int:
        return self.child.hello.control_port if self.child.hello else 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def control_url(self) -> str:
        return f"http://127.0.0.1:{self.control_port}"

    @property
    def running(self) -> bool:
        return self.child.code is None

    def entry(self) -> dict[str, Any]:
        own = {"id": self.id, "host": "127.0.0.1", "port": self.port, "controlUrl": self.control_url}
        return {**own, "weight": 1, "version": "1.0.0", "draining": False}


@dataclass(slots=True)
class Fleet:
    """`env` holds further settings per component. `tiers` = the spec in force from the start (revision 1)."""

    database: Database | None
    valkey: ValkeyServer | None
    gateways: int = 1
    balancers: int = 1
    apis: int = 2
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tiers: TiersSpec | None = None
    demo: bool = True
    revision: int = 1
    folder: Path = field(init=False)
    plan: Plan = field(init=False)
    nodes: list[Node] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="sapi-fleet-", dir="/tmp"))
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def _open(self) -> None:
        (self.folder / "endpoints").mkdir()
        (self.folder / "logs").mkdir()
        tiers_file = self.folder / "tiers.yaml"
        tiers_file.write_bytes(render(document(self.revision, self.tiers or BUILT_IN.spec)))
        app, gateway = (self.database.app, self.database.gateway) if self.database else ("", "")
        redis_url = self.valkey.url if self.valkey else ""
        secrets: Secrets = secrets_of(self.folder / "secrets.json")
        self.plan = Plan(
            host="127.0.0.1",
            port=0,
            app_dsn=app or "postgresql://nobody:none@127.0.0.1:1/none",
            gateway_dsn=gateway or "postgresql://nobody:none@127.0.0.1:1/none",
            redis_url=redis_url or "redis://127.0.0.1:1/0",
            state=self.folder,
            tiers_file=tiers_file,
            secrets=secrets,
            demo=self.demo,
            drain_seconds=5,
        )
        for component in COMPONENTS:
            self.publish(component)
        wanted = [("api", self.apis), ("balancer", self.balancers), ("gateway", self.gateways)]
        nodes = [self.launch(component) for component, count in wanted for _ in range(count)]
        await asyncio.gather(*(self.listening(node) for node in nodes))
        for component in COMPONENTS:
            self.publish(component)
        await asyncio.gather(*(self.ready(node) for node in nodes))

    # ------------------------------------------------------------------------------------------------ questions

    def of(self, component: str) -> list[Node]:
        """The running processes of a component, oldest first."""
        return [n for n in self.nodes if n.component == component and n.running]

    @property
    def gateway_nodes(self) -> list[Node]:
        return self.of("gateway")

    @property
    def balancer_nodes(self) -> list[Node]:
        return self.of("balancer")

    @property
    def api_nodes(self) -> list[Node]:
        return self.of("api")

    @property
    def url(self) -> str:
        """The first gateway's address."""
        return self.gateway_nodes[0].url

    @property
    def urls(self) -> list[str]:
        """Every gateway's address: `OpenLoop` takes them in turn."""
        return [node.url for node in self.gateway_nodes]

    def client(self, source: str | None = None, node: Node | None = None, **options: object) -> httpx.AsyncClient:
        return client((node or self.gateway_nodes[0]).url, source, **options)

    def control(self, node: Node) -> ControlClient:
        """Close it, or use it as an async context."""
        return ControlClient(node.control_url, self.plan.secrets.control_token, timeout_s=5.0)

    # ---------------------------------------------------------------------------------------------------- acts

    async def keys(self) -> dict[str, str]:
        """Fresh API keys of the demo's users by tier: free, pro, enterprise."""
        assert self.database is not None
        number, _, pepper = self.plan.secrets.api_key_peppers.partition(":")
        return await migrate.demo_keys(self.database.owner, int(number), base64.b64decode(pepper))

    def launch(self, component: str) -> Node:
        """Starts the process; `listening` waits for its ports."""
        number = self._counts[component] = self._counts.get(component, 0) + 1
        env = environment(component, self.plan, self.env.get(component))
        node = Node(Launcher(self.folder / "logs").start(component, f"{component}-{number}", env))
        self.nodes.append(node)
        return node

    async def listening(self, node: Node) -> None:
        try:
            await node.child.listening(START_S)
        except (ChildEndedError, TimeoutError) as error:
            raise AssertionError(f"{node.id} did not start: {error}\n{node.child.last_lines()}") from None

    async def ready(self, node: Node, within_s: float = START_S) -> None:
        """Waits for /readyz; a red one tells which check."""
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:

            async def green() -> bool:
                answer = await http.get(f"{node.control_url}/readyz")
                if answer.status_code != httpx.codes.OK:
                    raise AssertionError(f"{answer.text}\n{node.child.last_lines()}")
                return True

            await eventually(green, within_s, f"{node.id} is ready", 0.05)

    async def start(self, component: str) -> Node:
        """One more, announced to the others once it is ready."""
        node = self.launch(component)
        await self.listening(node)
        self.publish(component)
        await self.ready(node)
        return node

    def publish(self, component: str, draining: frozenset[str] = frozenset()) -> None:
        """Writes the endpoints file as the process backend does: whoever runs."""
        entries = [n.entry() | {"draining": n.id in draining} for n in self.of(component) if n.port]
        write_private(self.folder / "endpoints" / f"{component}.json", json.dumps(entries))

    async def kill(self, node: Node, *, publish: bool = True) -> None:
        """SIGKILL; the others learn of it from the file unless `publish` is False."""
        await self._end(node, signal.SIGKILL, publish=publish)

    async def term(self, node: Node, *, publish: bool = True) -> int:
        """SIGTERM, and the exit code once it has drained. The file still names it until it is gone."""
        return await self._end(node, signal.SIGTERM, publish=publish)

    async def _end(self, node: Node, how: signal.Signals, *, publish: bool) -> int:
        os.kill(node.pid, how)
        code = await node.child.wait(END_S)
        assert code is not None, f"{node.id} has not ended\n{node.child.last_lines()}"
        if publish:
            self.publish(node.component)
        return code

    def stop(self, node: Node) -> None:
        os.kill(node.pid, signal.SIGSTOP)

    def cont(self, node: Node) -> None:
        os.kill(node.pid, signal.SIGCONT)

    async def push_tiers(self, spec: TiersSpec) -> TiersDocument:
        """A new revision in file and by push, to every gateway and balancer."""
        self.revision += 1
        found = document(self.revision, spec)
        raw = render(found)
        write_private(self.plan.tiers_file, raw.decode())
        for node in (*self.gateway_nodes, *self.balancer_nodes):
            async with self.control(node) as control:
                ack = await control.push_tiers(raw)
                assert ack.hash == found.hash
        return found

    async def close(self) -> None:
        """Ends all at once (a test of draining calls `term`); the folder goes."""
        for node in self.nodes:
            node.child.kill()
        for node in self.nodes:
            await node.child.wait(END_S)
        shutil.rmtree(self.folder, ignore_errors=True)
