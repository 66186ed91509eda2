"""Prometheus' own programs for tests of rules, dashboards and series: they read what Prometheus will read.

`promtool(…)` runs one check; `Server` is a Prometheus that scrapes processes of a test; `metrics` names what a PromQL
expression asks for. Without the programs tests skip, with the command that installs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from tests.harness.wait import eventually
from tests.load.bench.packages import PROMETHEUS
from tests.load.bench.processes import free_ports, program

ROOT: Final = Path(__file__).resolve().parents[2]
ALERTS: Final = ROOT / "deploy" / "alerts"
STARTED_S: Final = 20.0
WORDS: Final = frozenset(("and", "or", "unless", "bool", "offset"))
"""PromQL's own words that stand where a name may."""
ASIDE: Final = re.compile(
    r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)'
)
NAME: Final = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*\b(?!\s*\()")
VARIABLES: Final = {
    "$__rate_interval": "5m",
    "$__range": "1h",
    "$namespace": ".*",
    "$release": ".*",
    "$component": ".*",
}
"""What Grafana puts in for the variables of a page."""


def promtool(*words: str | Path, stdin: str | None = None, cwd: Path = ALERTS) -> subprocess.CompletedProcess[str]:
    """Its exit code and words."""
    return subprocess.run(
        [needed("promtool"), *map(str, words)], input=stdin, cwd=cwd, capture_output=True, text=True, check=False
    )


def needed(name: str) -> str:
    """The program, or a skip that says how to get it (CI counts skips as failures)."""
    found = program(name)
    if found is None:
        pytest.skip(f"{name} is missing: {PROMETHEUS.command}")
    return str(found)


def rules(pattern: str = "*.rules.yaml") -> list[Mapping[str, Any]]:
    """Every rule of these files: `record` or `alert`."""
    documents = [yaml.safe_load(file.read_text()) for file in sorted(ALERTS.glob(pattern))]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


def metrics(expr: str) -> set[str]:
    """The series that a PromQL expression asks for, by name."""
    return set(NAME.findall(ASIDE.sub(" ", expr))) - WORDS


def without_variables(expr: str) -> str:
    """A panel's expression as Grafana sends it when everything is chosen."""
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    return expr


@dataclass(frozen=True, slots=True)
class Server:
    """A running Prometheus, asked over its HTTP API."""

    url: str

    async def ask(self, path: str, **parameters: str) -> Any:
        """`data` of an answer; AssertionError with Prometheus' own words if it is none."""
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as http:
            answer = await http.get(f"{self.url}/api/v1/{path}", params=parameters)
        body = answer.json()
        assert body["status"] == "success", body
        return body["data"]

    async def series(self, expr: str) -> Sequence[Mapping[str, Any]]:
        """An instant query's result."""
        found: Sequence[Mapping[str, Any]] = (await self.ask("query", query=expr))["result"]
        return found


@contextlib.asynccontextmanager
async def prometheus(targets: Iterable[tuple[str, str, Mapping[str, str]]]) -> AsyncIterator[Server]:
    """Scrapes `(job, host:port, labels)` once a second and evaluates all our rules; ends with the block."""
    with tempfile.TemporaryDirectory(prefix="sapi-prometheus-", dir="/tmp") as folder:
        file = Path(folder) / "prometheus.yaml"
        file.write_text(yaml.safe_dump(configuration(targets)))
        (port,) = free_ports(1)
        words = [needed("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder}/data"]
        words += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        log = (Path(folder) / "log").open("w+")
        process = await asyncio.create_subprocess_exec(*words, cwd=folder, stdout=log, stderr=log)
        try:
            server = Server(f"http://127.0.0.1:{port}")
            await eventually(lambda: server.ask("status/buildinfo"), STARTED_S, "Prometheus answers", 0.1)
            yield server
        finally:
            process.terminate()
            await process.wait()
            log.close()


def configuration(targets: Iterable[tuple[str, str, Mapping[str, str]]]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{ALERTS}/*.rules.yaml"],
        "scrape_configs": [
            {
                "job_name": f"{job} {address}",
                "honor_labels": job == "operator",
                "static_configs": [{"targets": [address], "labels": {"job": job, **labels}}],
            }
            for job, address, labels in targets
        ],
    }
