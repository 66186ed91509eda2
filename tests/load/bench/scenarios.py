"""What is measured: a scenario is one entry of SCENARIOS, a row one proxy in it. Read by __main__.

A lane is a listening proxy (peers.py, ours.py); a row whose lane does not run is left out. Names are those of the table and the JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.load.bench.wrk import OK, TOO_MANY

CONNECTIONS: Final = 64
LUA: Final = "nginx + Lua + Redis"


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a proxy listens, the root of its process tree, and the store's if it asks one per request (0: none)."""

    port: int
    pid: int
    store_pid: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """A proxy under load. `keys`: limited (one sliding policy), tiers (the built-in two policies), refused (used up at once)."""

    lane: str
    proxy: str = ""
    connections: int = CONNECTIONS
    keys: str = "limited"
    expect: int = OK

    @property
    def name(self) -> str:
        return self.proxy or self.lane


@dataclass(frozen=True, slots=True)
class Idle:
    """A proxy that holds connections; `asked`: each had one answer before it went idle. Its process is started for this alone."""

    lane: str
    asked: bool

    @property
    def name(self) -> str:
        return f"{self.lane}, {'one request each' if self.asked else 'nothing sent'}"


def alone(*lanes: str) -> tuple[Load, ...]:
    return tuple(Load(lane, connections=1) for lane in lanes)


SCENARIOS: Final[dict[str, tuple[Load | Idle, ...]]] = {
    "plain": (Load("nginx"), Load("haproxy"), Load("envoy"), Load("engine"), Load("balancer")),
    "limited": (
        Load("nginx limit_req"),
        Load(LUA),
        Load("haproxy stick table"),
        Load("envoy local limit"),
        Load("gateway"),
        Load("gateway", "gateway, default tiers", keys="tiers"),
    ),
    "refused": (Load("gateway", keys="refused", expect=TOO_MANY),),
    "c1": (*alone("nginx", "haproxy", "envoy", "balancer"), *alone(LUA, "gateway")),
    "idle": tuple(Idle(lane, asked) for lane in ("nginx", "balancer") for asked in (False, True)),
}


@dataclass(frozen=True, slots=True)
class Bench:
    """All that runs: lanes by name, key files by kind."""

    lanes: dict[str, Lane]
    keys: dict[str, Path]
    store_version: str
