"""wrk: one stretch of load, and what its report says. Called by measure."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.load.bench.processes import program

SCRIPT: Final = Path(__file__).parent / "templates" / "wrk.lua"
MICROS: Final = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}
OK, TOO_MANY = 200, 429


class LoadError(Exception):
    """The answers are not what the row is about, so there is no figure."""


@dataclass(frozen=True, slots=True)
class Said:
    """wrk's report. `failed`: answers of status 400 and above; `broken`: its line of socket errors, if there is one."""

    requests: int
    rps: float
    p50_us: float
    p99_us: float
    failed: int = 0
    broken: str = ""

    @property
    def seconds(self) -> float:
        return self.requests / self.rps


def parse(text: str) -> Said:
    """Raises LoadError if it holds no answer."""
    total = re.search(r"(\d+) requests in ", text)
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", text, re.MULTILINE)
    latency = dict(re.findall(r"^\s+(50|99)%\s+([\d.]+(?:us|ms|s|m))$", text, re.MULTILINE))
    if total is None or rate is None or not int(total[1]) or len(latency) < 2:
        raise LoadError(f"wrk got no answers: {text.strip()}")
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: (.+)", text)
    return Said(
        requests=int(total[1]),
        rps=float(rate[1]),
        p50_us=micros(latency["50"]),
        p99_us=micros(latency["99"]),
        failed=int(failed[1]) if failed else 0,
        broken=broken[1] if broken else "",
    )


def micros(text: str) -> float:
    """`1.84ms` → 1840.0."""
    number, unit = re.findall(r"[\d.]+|[a-z]+", text)
    return float(number) * MICROS[unit]


def wrong(said: Said, expect: int) -> str:
    """Why this is no measurement of answers `expect`; empty if it is one."""
    if said.broken:
        return f"socket errors: {said.broken}"
    unexpected = said.failed if expect == OK else said.requests - said.failed
    return f"{unexpected} of {said.requests} answers are not {expect}" if unexpected else ""


async def run(port: int, keys: Path, connections: int, seconds: int) -> Said:
    """Load with GETs of five fields, the file's keys in turn."""
    argv = ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(SCRIPT), f"http://127.0.0.1:{port}"]
    process = await asyncio.create_subprocess_exec(
        program("wrk") or "wrk",
        *argv,
        "--",
        str(keys),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        return parse((await process.communicate())[0].decode())
    finally:
        if process.returncode is None:  # cancelled
            process.kill()
            await process.wait()
