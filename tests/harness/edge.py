"""One gateway process before a recording upstream, without stores: what a client's bytes become, and nothing else.

The limiter is off and nobody has a credential, so every request that is well-formed goes on. The recorder stands where
the balancer would. `async with Edge() as edge: edge.gateway.port, edge.recorder`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import httpx

from services.cli.instance import write_private
from tests.harness.fleet import Fleet, Node
from tests.harness.recorder import Recorder
from tests.harness.wire import Taken

QUIET: Final = {"LIMITER_ENABLED": "false", "LOG_LEVEL": "warning", "REQUEST_TIMEOUT_MS": "120000"}
NAME: Final = b"gateway-gateway-1"  # what it writes into Via


@dataclass(slots=True)
class OneGateway(Fleet):
    """`behind`: the port of what stands where the balancers would."""

    behind: int = 0

    def publish(self, component: str, draining: frozenset[str] = frozenset()) -> None:
        entry = {"id": "recorder", "host": "127.0.0.1", "port": self.behind, "weight": 1, "version": "1.0.0"}
        entries = [{**entry, "draining": False}] if component == "balancer" else []
        write_private(self.folder / "endpoints" / f"{component}.json", json.dumps(entries))


@dataclass(slots=True)
class Edge:
    env: dict[str, str] = field(default_factory=dict)
    recorder: Recorder = field(default_factory=Recorder)
    fleet: OneGateway = field(init=False)

    async def __aenter__(self) -> Self:
        await self.recorder.__aenter__()
        env = {"gateway": QUIET | self.env}
        self.fleet = OneGateway(None, None, balancers=0, apis=0, env=env, behind=self.recorder.port)
        try:
            await self.fleet.__aenter__()
        except BaseException:
            await self.recorder.__aexit__()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.fleet.close()
        await self.recorder.__aexit__()

    @property
    def gateway(self) -> Node:
        return self.fleet.gateway_nodes[0]

    def taken(self) -> Taken:
        return Taken(self.gateway.port, self.recorder.port)

    def rss_kib(self) -> int:
        return int(Path(f"/proc/{self.gateway.pid}/statm").read_text().split()[1]) * 4

    async def alive(self) -> bool:
        """The process runs, says so, and has logged no traceback."""
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:
            answer = await http.get(f"{self.gateway.control_url}/livez")
        return answer.status_code == httpx.codes.OK and "Traceback" not in self.gateway.log.read_text()
