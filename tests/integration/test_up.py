"""`scalable-api up` as a user runs it: ready in time, used, watched, stopped, killed. Each start has a home and a
temporary folder of its own, so that what is left behind can be counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.http import client
from tests.harness.up import Home, Running, new_home, up
from tests.harness.wait import eventually

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "manifests" / "samples" / "quickstart.yaml"
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def home() -> Iterator[Home]:
    with new_home() as made:
        yield made


def child_of(running: Running, name: bytes) -> int:
    """The pid of the child whose command line holds `name`."""
    pids = json.loads((running.data / "children.json").read_text())
    (found,) = [pid for pid in pids if name in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return int(found)


async def interrupted(running: Running, times: int = 1) -> int:
    for _ in range(times):
        running.process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
    return await asyncio.wait_for(running.process.wait(), 20)


async def test_from_start_to_ctrl_c(home: Home) -> None:
    """Ready with two apis, serves through the whole path, every command tells about it; Ctrl-C: exit 0, no process,
    socket, file left.
    """
    async with up(home, "--no-demo") as running:
        assert running.said["processes"] == {"api": 2, "balancer": 1, "gateway": 1}
        async with client(running.url) as http:  # ready means: the first burst passes, all the way
            burst = await asyncio.gather(*(http.get("/api/v1/status") for _ in range(40)))
            assert {(answer.status_code, answer.text if answer.is_error else "") for answer in burst} == {(200, "")}
        top = await home.command("top", "--once", "-o", "json")
        assert {p["component"] for p in json.loads(top.stdout)["data"]["processes"]} == {"gateway", "balancer", "api"}
        status = await home.command("status", "--wait", "--timeout", "15")
        assert (status.returncode, "api" in status.stdout) == (0, True), status.stderr
        explained = await home.command("explain", "GET", "/api/v1/status")
        assert (explained.returncode, "admit" in explained.stdout) == (0, True), explained.stderr
        scaling = await home.command("explain", "scaling", "api")
        assert (scaling.returncode, "recomputed: 2" in scaling.stdout) == (0, True), scaling.stdout + scaling.stderr
        checked = await home.command("check", "--wait", "--timeout", "15")
        assert (checked.returncode, checked.stdout.endswith("all is well\n")) == (0, True), checked.stdout
        assert (await home.command("migrate", "verify")).returncode == 0
        assert (await home.command("version")).returncode == 0
        assert await interrupted(running) == 0
        assert home.processes() == []
        assert home.left() == []


async def test_kill_9_leaves_no_child(home: Home) -> None:
    """kill -9 of `up`: every child, Postgres and Valkey too, is gone within 2 s; the next start sweeps its folder."""
    async with up(home) as running:
        data = running.data
        running.process.kill()
        await running.process.wait()
        await eventually(lambda: not home.processes(), 2, "all children are gone")
        assert data.exists()
    async with up(home, "--no-demo") as running:
        await eventually(lambda: not data.exists(), 5, "the folder of the killed one is swept")
        assert await interrupted(running) == 0
    assert home.left() == []


async def test_the_second_ctrl_c_kills(home: Home) -> None:
    """Two Ctrl-C: exit 130 at once, nothing left."""
    async with up(home) as running:
        assert await interrupted(running, times=2) == 130
        await eventually(lambda: not home.processes(), 2, "all children are gone")
        assert home.left() == []


async def test_keys_and_demo_rows(home: Home) -> None:
    """Demo keys work; `keys create` prints a key that works, `keys revoke` ends it within 2 s."""
    async with up(home, "--demo", "--demo-rate", "0.05") as running:
        keys = json.loads((running.data / "demo-keys.json").read_text())
        async with client(running.url) as http:
            for tier, key in keys.items():
                me = await http.get("/api/v1/me", headers={"x-api-key": key})
                assert me.json()["user"]["tier"] == tier or me.status_code == 200
            made = await home.command("keys", "create", "--name", "t", "--scopes", "read")
            key = made.stdout.strip()
            assert key.startswith("sk_test_"), made.stderr
            assert (await http.get("/api/v1/me", headers={"x-api-key": key})).status_code == 200
            listed = await home.command("keys", "list")
            assert key.rsplit("_", 2)[0] in listed.stdout
            assert (await home.command("keys", "revoke", key.rsplit("_", 2)[0])).returncode == 0

            async def refused() -> bool:
                return (await http.get("/api/v1/me", headers={"x-api-key": key})).status_code == 401

            await eventually(refused, 2, "the revoked key is refused")
        assert await interrupted(running) == 0


async def test_an_edited_tier_is_enforced(home: Home) -> None:
    """A tier edited by renaming a new file over the manifest, and one by `apply --wait`: every gateway enforces it
    within 5 s.
    """
    manifest = home.path / "m.yaml"
    manifest.write_bytes(QUICKSTART.read_bytes())
    async with up(home, "-f", str(manifest)) as running, client(running.url, "127.0.0.9") as http:

        async def limit(wanted: str) -> bool:
            return (await http.get("/api/v1/status")).headers["x-ratelimit-limit"] == wanted

        await eventually(lambda: limit("100"), 5, "the first limit")
        (home.path / "new").write_text(QUICKSTART.read_text().replace("quota: 100,", "quota: 77,"))
        (home.path / "new").rename(manifest)
        await eventually(lambda: limit("77"), 5, "the edited limit")
        (home.path / "next.yaml").write_text(QUICKSTART.read_text().replace("quota: 100,", "quota: 88,"))
        applied = await home.command("apply", "-f", str(home.path / "next.yaml"), "--wait", "--timeout", "10")
        assert (applied.returncode, "quota: 88" in applied.stdout) == (0, True), applied.stderr
        assert await limit("88")
        (home.path / "bad.yaml").write_text(QUICKSTART.read_text().replace("quota: 100,", "qouta: 100,"))
        refused = await home.command("apply", "-f", str(home.path / "bad.yaml"))
        assert (refused.returncode, "E106" in refused.stderr, "quota" in refused.stderr) == (4, True, True)
        assert await limit("88")
        assert await interrupted(running) == 0


async def test_edits_leave_the_manifest_s_comments(home: Home) -> None:
    """scale, pause, resume, tiers rotate and rollback of the quickstart: each is taken over, and its comments are all there
    after each.
    """
    tiers = yaml.safe_load(QUICKSTART.read_text())["spec"]["tiers"]
    tiers["definitions"][0]["policies"][0]["quota"] = 90
    (home.path / "tiers.yaml").write_text(yaml.safe_dump(tiers))
    async with up(home, "--no-demo") as running, client(running.url, "127.0.0.9") as http:
        manifest = Path(running.said["manifest"])
        before = comments(manifest)
        assert len(before) > 3
        for words, fields in (
            (["scale", "api", "3"], {"replicas": 3}),
            (["pause", "--what", "up,tiers", "--reason", "sale"], {"paused": {"scaleUp": True, "tiers": True}}),
            (["resume"], {"paused": {"scaleUp": False, "scaleDown": False, "tiers": False}}),
        ):
            done = await home.command(*words)
            assert (done.returncode, done.stderr) == (0, "")
            assert comments(manifest) == before
            spec = spec_of(manifest)
            assert {name: spec[name] for name in fields} == fields

        async def three() -> bool:
            return len(json.loads((running.data / "state" / "endpoints" / "api.json").read_text())) == 3

        await eventually(three, 20, "the third api runs")
        for words, limit in ((["rotate", "-f", str(home.path / "tiers.yaml")], "90"), (["rollback"], "100")):
            done = await home.command("tiers", *words, "--wait", "--timeout", "15")
            assert (done.returncode, "is enforced" in done.stderr) == (0, True), done.stderr
            assert (await http.get("/api/v1/status")).headers["x-ratelimit-limit"] == limit
            assert comments(manifest) == before
        assert await interrupted(running) == 0


def spec_of(manifest: Path) -> Any:
    return yaml.safe_load(manifest.read_text())["spec"]


def comments(path: Path) -> list[str]:
    return re.findall("#.*", path.read_text())


async def test_a_kept_folder(home: Home) -> None:
    """--data-dir: E104 while it is in use; a second start finds users' data, keys and secrets again."""
    data = home.path / "data"
    async with up(home, "--data-dir", str(data), "--demo") as running:
        second = await home.command("up", "--no-open", "--port", "0", "--data-dir", str(data))
        assert (second.returncode, "E104" in second.stderr, str(running.process.pid) in second.stderr) == (
            1,
            True,
            True,
        )
        keys = json.loads((data / "demo-keys.json").read_text())
        assert await interrupted(running) == 0
    async with up(home, "--data-dir", str(data), "--demo") as running, client(running.url) as http:
        assert json.loads((data / "demo-keys.json").read_text()) == keys
        assert (await http.get("/api/v1/me", headers={"x-api-key": keys["pro"]})).status_code == 200
        assert await interrupted(running) == 0


async def test_e101_a_taken_port(home: Home) -> None:
    """A port asked for and taken: E101 with the next thing to type, and nothing was started."""
    async with up(home, "--no-demo") as running:
        port = running.url.rsplit(":", 1)[1]
        second = await home.command("up", "--no-open", "--port", port)
        assert (second.returncode, "E101" in second.stderr) == (1, True)
        assert "Traceback" not in second.stderr
        assert await interrupted(running) == 0
    assert home.left() == []


async def test_a_dead_store_comes_back(home: Home) -> None:
    """Valkey killed under `up`: requests go on (degraded), it is started again at the same address."""
    async with up(home, "--no-demo") as running, client(running.url) as http:
        os.kill(child_of(running, b"valkey-server"), signal.SIGKILL)

        async def served() -> bool:
            answer = await http.get("/api/v1/status")
            assert answer.status_code == 200
            return "ratelimit-degraded" not in answer.headers

        await asyncio.sleep(0.2)
        await eventually(served, 10, "the limiter is exact again")
        assert await interrupted(running) == 0
