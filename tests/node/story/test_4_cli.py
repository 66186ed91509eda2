"""The CLI on a real cluster, where kubectl forwards ports: what needs the admin API goes through an api and a gateway."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.wait import eventually
from tests.node import binaries
from tests.node.story.cluster import NAMESPACE
from tests.node.story.conftest import Platform

Done = subprocess.CompletedProcess[str]
Cli = Callable[..., Done]


@pytest.fixture(scope="module")
def cli(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """`kubectl scalableapi WORDS`, as a user runs it who has kubectl and this checkout's scripts in PATH."""
    home = tmp_path_factory.mktemp("home")
    program = shutil.which("kubectl") or str(binaries.kubectl())
    path = os.pathsep.join([str(Path(program).parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": path, "HOME": str(home), "KUBECONFIG": str(platform.cluster.kubeconfig)}

    def run(*words: str) -> Done:
        line = ["kubectl", "scalableapi", *words, "-n", NAMESPACE]
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60, env=environment)

    return run


async def test_a_breaker_is_forced_by_hand(platform: Platform, cli: Cli) -> None:
    """`breakers open`: every api holds it open and status names it; `breakers reset` closes it; a name nobody has is 3."""
    forced = cli("breakers", "open", "external-service", "--reason", "the story", "--ttl", "120")
    assert (forced.returncode, "external-service open until" in forced.stdout) == (0, True), forced.stderr

    def shown() -> bool:
        listed = cli("breakers", "-o", "json")
        items = json.loads(listed.stdout)["data"]["items"]
        return listed.returncode == 1 and [i["name"] for i in items if i["state"] == "Open"] == ["external-service"]

    await eventually(shown, 20, "status names it")
    with platform.http() as http:
        assert http.get("/api/v1/external").status_code == 503
    closed = cli("breakers", "reset", "external-service")
    assert (closed.returncode, closed.stdout) == (0, "breaker external-service closed\n"), closed.stderr
    missing = cli("breakers", "reset", "nobody")
    assert (missing.returncode, missing.stderr.splitlines()[0].split()[0]) == (3, "error"), missing.stderr


async def test_a_key_is_made_and_ended(platform: Platform, cli: Cli) -> None:
    """`keys create` prints a key that the gateways take, `keys revoke` ends it within two seconds."""
    made = cli("keys", "create", "--name", "story", "--scopes", "read")
    key = made.stdout.strip()
    assert (made.returncode, key.startswith("sk_")) == (0, True), made.stderr
    with platform.http() as http:
        assert http.get("/api/v1/me", headers={"x-api-key": key}).status_code == 200
        listed = cli("keys", "list")
        prefix = "_".join(key.split("_")[:3])  # the secret and its check digits follow
        assert prefix in listed.stdout
        assert cli("keys", "revoke", prefix).returncode == 0

        def refused() -> bool:
            return http.get("/api/v1/me", headers={"x-api-key": key}).status_code == 401

        await eventually(refused, 5, "the revoked key is refused")
