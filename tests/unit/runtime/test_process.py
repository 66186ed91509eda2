from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from services.runtime.process import DrainState, make_runtime
from services.runtime.settings import GatewaySettings, load
from tests.harness.wait import eventually
from tests.unit.runtime.test_settings import BALANCER, GATEWAY, TOKEN

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import asyncio, sys
from services.runtime.process import run
from services.runtime.settings import BalancerSettings, SettingsError

class Service:
    def __init__(self, rt):
        self.rt = rt
        if "file" in sys.argv: raise SettingsError("TLS_KEY_PATH=/x: cannot be read")
    async def start(self):
        if "taken" in sys.argv: raise OSError(98, "Address already in use")
        return 4711
    def drain(self, on): print("drain", on, flush=True)
    async def close(self, within_s): print("close", within_s, flush=True)
    def checks(self): return {}
    def snapshot(self): return self.rt.snapshot(ready=True, in_flight=0)

run(BalancerSettings, Service)
"""


def start(*argv: str, fds: tuple[int, ...] = (), **environ: str) -> subprocess.Popen[str]:
    env = (
        {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOST": "127.0.0.1", "CONTROL_PORT": "0"}
        | BALANCER
        | environ
    )
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *argv],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=fds,
    )


def launch(**environ: str) -> tuple[subprocess.Popen[str], socket.socket, dict[str, object]]:
    ours, theirs = socket.socketpair()
    child = start(fds=(theirs.fileno(),), SUPERVISOR_FD=str(theirs.fileno()), **environ)
    theirs.close()
    ours.settimeout(20)
    return child, ours, json.loads(ours.makefile().readline())


def test_a_bad_setting_is_one_line_and_exit_1():
    """The line names the setting, its value and the rule."""
    child = start(LB_PORT="abc")
    out, err = child.communicate(timeout=20)
    assert (child.returncode, out) == (1, "")
    assert err.startswith("balancer: LB_PORT=abc: ")
    assert err.count("\n") == 1


def test_a_file_that_a_setting_names_is_one_line_and_exit_1():
    """A component that reads one when it is made need not know how a process ends."""
    child = start("file")
    out, err = child.communicate(timeout=20)
    assert (child.returncode, out, err) == (1, "", "balancer: TLS_KEY_PATH=/x: cannot be read\n")


def test_a_taken_port_is_one_line_and_exit_1():
    """No traceback for what an operator can mend."""
    child = start("taken")
    _, err = child.communicate(timeout=20)
    assert child.returncode == 1
    assert "address already in use" in err
    assert "Traceback" not in err


async def test_sigterm_drains_and_exits_0():
    """The supervisor hears of the ports; SIGTERM: readiness red, delay, close within its time, exit 0."""
    child, ours, hello = launch(DRAIN_DELAY_SECONDS="0.5", DRAIN_SECONDS="7", INSTANCE_ID="balancer-9")
    assert (hello["component"], hello["instance"], hello["port"], hello["pid"]) == (
        "balancer",
        "balancer-9",
        4711,
        child.pid,
    )
    url = f"http://127.0.0.1:{hello['controlPort']}"
    async with httpx.AsyncClient(trust_env=False, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        assert (await client.get(f"{url}/readyz")).status_code == 200
        assert (await client.get(f"{url}/control/v1/snapshot")).json()["instance"] == "balancer-9"
        child.send_signal(signal.SIGTERM)

        async def red() -> bool:
            return (await client.get(f"{url}/readyz")).status_code == 503

        await eventually(red, 5, "readiness is red")
    out, _ = await asyncio.to_thread(child.communicate, timeout=20)
    assert child.returncode == 0
    plain = [line for line in out.splitlines() if not line.startswith("{")]
    assert plain == ["drain True", "close 7.0"]
    ours.close()


def test_a_supervisor_that_is_gone_ends_the_process():
    """kill -9 of `up` closes its end of the pair: nothing is left running."""
    child, ours, _ = launch()
    ours.close()
    assert child.wait(10) == 3
    child.communicate()


async def test_drain_state_tells_changes_only():
    """Listeners hear of changes, not of repetitions."""
    heard: list[bool] = []
    state = DrainState()
    state.on_change.append(heard.append)
    for on in (True, True, False, False):
        state.set(on, 10)
    assert heard == [True, False]


@pytest.fixture
def rt():
    return make_runtime(load(GatewaySettings, GATEWAY))


def test_the_standard_series_of_a_process_with_tiers(rt):
    """Revision and hash of the document in force, and the drain state, are gauges."""
    text = rt.metrics.render("")[0].decode()
    assert "gateway_tiers_revision 0.0" in text
    assert f'gateway_tiers_info{{hash="{rt.tiers.document.hash}"}} 1.0' in text
    assert "gateway_draining 0.0" in text


def test_the_common_part_of_a_snapshot(rt):
    """Counts up, names the tiers in force, says what the process does without."""
    rt.tiers.note = "tiers.yaml: wrong"
    first = rt.snapshot(ready=True, in_flight=2, degraded=("redis",))
    second = rt.snapshot(ready=True, in_flight=2)
    assert second.seq == first.seq + 1
    assert first.degraded == ("redis", "tiers")
    assert first.tier.hash == rt.tiers.document.hash
    assert first.version == rt.settings.app_version
