"""`scalable-api up` as a user runs it, for tests: in a home of its own, so that what is left behind can be counted."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import stores
from tests.harness.wait import eventually

ROOT = Path(__file__).resolve().parents[2]
READY_S = 30.0  # the promise is 6; a test machine may be busy


@dataclass
class Home:
    """A machine of its own, as far as `up` is concerned."""

    path: Path

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.path / "t"), "XDG_STATE_HOME": str(self.path / "h"), "CI": "1"}

    def run(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command beside the running instance."""
        full = [sys.executable, "-m", "services.cli", *argv]
        return subprocess.run(
            full, cwd=ROOT, env=self.env, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )

    async def command(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(self.run, *argv)

    def processes(self) -> list[str]:
        """Who still runs with this home in its environment or command line."""
        found, mark = [], str(self.path).encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                    known = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if state != "Z" and mark in known:
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def left(self) -> list[str]:
        """Files of the temporary folder and the state folder."""
        return sorted(
            str(p.relative_to(self.path)) for p in self.path.rglob("*") if not p.is_dir() or p.parent.name == "t"
        )


@contextmanager
def new_home() -> Iterator[Home]:
    """One that is gone afterwards; open to the user that Postgres runs as."""
    with stores.folder("sapi-up-") as path:
        path.chmod(0o755)
        (path / "t").mkdir(mode=0o755)
        yield Home(path)


@dataclass
class Running:
    process: asyncio.subprocess.Process
    said: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.said["url"]).replace("localhost", "127.0.0.1")

    @property
    def data(self) -> Path:
        return Path(self.said["data"])


@asynccontextmanager
async def up(home: Home, *argv: str) -> AsyncIterator[Running]:
    """`up -o json` until its report; killed at the end if it still runs."""
    full = [sys.executable, "-m", "services.cli", "up", "--no-open", "-o", "json", "--port", "0", *argv]
    process = await asyncio.create_subprocess_exec(
        *full, cwd=ROOT, env=home.env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), READY_S)
        if not line:
            raise AssertionError((await process.stderr.read()).decode())
        yield Running(process, json.loads(line)["data"])
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        await eventually(lambda: not home.processes(), 5, "all children are gone")
