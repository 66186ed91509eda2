"""The controller over real child processes: they answer from a script, everything else is the real thing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.controller.backend import Event
from services.controller.backends.launch import Launcher
from services.controller.backends.processes import NotReadyError, ProcessBackend, tiers_file
from services.controller.loop import Controller
from services.controller.pods import HttpControlPorts
from services.schema.status import StoredObject
from services.schema.tiers import parse
from tests.harness.wait import eventually

STUB = Path(__file__).with_name("stub_process.py")
TOKEN = "a-control-token-of-the-tests"
MANIFEST = """
apiVersion: scalableapi.io/v1
kind: ScalableApi
metadata: {name: shop}
spec:
  components:
  - {name: gateway, minReplicas: 2, maxReplicas: 2, drain: {settle: 0s}}
  - name: balancer
  - name: api
    minReplicas: 2
    maxReplicas: 6
    metrics: [{name: rps, type: RPS, target: 60}]
    drain: {timeout: 3s, settle: 1s}
    behavior:
      stableWindow: 6s
      panic: {window: 2s}
      scaleDown: {stabilizationWindow: 0s, policies: [{type: Percent, value: 50, period: 2s}]}
"""


class Platform:
    """The backend, the running loop, and what a test says and reads."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state, self.manifest = folder, folder / "state", folder / "shop.yaml"
        (folder / "logs").mkdir()
        self.state.mkdir()
        self.manifest.write_text(MANIFEST)
        self.events: list[Event] = []
        self.backend = ProcessBackend(
            self.manifest,
            self.state,
            Launcher(folder / "logs", lambda component: [sys.executable, str(STUB), component, str(folder)]),
            lambda component: {**os.environ, "CONTROL_TOKEN": TOKEN},
            token=TOKEN,
            happened=self.events.append,
        )
        self.ports = HttpControlPorts()
        self.controller = Controller(self.backend, self.ports, version="1.0.0")

    def say(self, name: str, **members: Any) -> None:
        temporary = self.folder / f".{name}"
        temporary.write_text(json.dumps(members))
        temporary.replace(self.folder / f"{name}.json")

    def edit(self, old, new):
        text = self.manifest.read_text()
        assert old in text
        self.manifest.write_text(text.replace(old, new))

    @property
    def status(self):
        return StoredObject.model_validate_json((self.state / "shop.json").read_bytes()).status

    def component(self, name):
        return next(c for c in self.status.components if c.name == name)

    def endpoints(self, component):
        return json.loads((self.state / "endpoints" / f"{component}.json").read_text())

    def reasons(self):
        return [event.reason for event in self.events]


@pytest.fixture
async def platform(tmp_path):
    made = Platform(tmp_path)
    loop = None
    try:
        await made.backend.start_all(20)
        loop = asyncio.get_running_loop().create_task(made.controller.run())
        await eventually(lambda: made.status.condition("Ready").status == "True", 10, "ready")
        yield made
    finally:
        if loop is not None:
            loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loop
        pids = made.backend.pids()
        await made.backend.stop_all(5)
        await made.ports.close()
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


async def test_start_brings_every_component_to_its_floor(platform):
    """What the manifest asks for runs, listens, enforces the manifest's document, and the status says so."""
    assert platform.backend.counts() == {"api": 2, "balancer": 1, "gateway": 2}
    assert [e["id"] for e in platform.endpoints("api")] == ["api-1", "api-2"]
    document = parse(tiers_file(platform.state, "shop").read_bytes())
    await eventually(lambda: platform.status.tiers.phase == "Active", 5, "acknowledged")
    assert (document.revision, platform.status.tiers.active_hash) == (1, document.hash)
    assert platform.status.tiers.pods.acked == platform.status.tiers.pods.total == 3
    assert platform.status.summary.api == "2/2"


async def test_a_step_of_load_adds_processes_within_three_seconds(platform):
    """Panic: two processes at 150 requests/s each, 60 wanted, become five; the status has the reason."""
    platform.say("api", rps=150)
    before = time.monotonic()
    await eventually(lambda: len(platform.backend.crews["api"].slots) > 2, 5, "more api processes")
    took = time.monotonic() - before
    print(f"a step of load → more processes: {took:.1f} s")
    assert took <= 15
    await eventually(lambda: len(platform.endpoints("api")) >= 5, 5, "they listen")
    found = await eventually(
        lambda: (c := platform.component("api")).decisions and c.last_decision.direction == "Up" and c, 5, "the reason"
    )
    assert found.decisions[-1].from_ == 2  # the window may have seen a half second of it first: then in two steps
    assert found.decisions[-1].reason in {"Panic", "LoadAboveTarget"}  # each one added brings load: to the maximum
    assert "ScaledUp" in platform.reasons()


async def test_less_load_drains_first_and_ends_exactly_the_idle_ones(platform):
    """Down: the idlest is drained, leaves the endpoints' list of the undrained, ends by SIGTERM with code 0."""
    platform.edit("minReplicas: 2\n    maxReplicas: 6", "minReplicas: 3\n    maxReplicas: 6")
    await eventually(lambda: len(platform.backend.crews["api"].slots) == 3, 5, "three")
    await eventually(lambda: platform.component("api").ready == 3, 5, "three ready")
    platform.say("api", rps=10)
    platform.say("api-1", rps=10, inFlight=3)
    platform.say("api-2", rps=10, inFlight=3)
    children = {slot.name: slot.child for slot in platform.backend.crews["api"].slots.values()}
    platform.edit("minReplicas: 3", "minReplicas: 2")
    drained = await eventually(
        lambda: [e["id"] for e in platform.endpoints("api") if e["draining"]], 20, "a draining endpoint"
    )
    assert drained == ["api-3"]
    await eventually(lambda: children["api-3"].code is not None, 10, "it ended")
    assert children["api-3"].code == 0
    assert [children["api-1"].code, children["api-2"].code] == [None, None]
    await eventually(lambda: platform.component("api").current == 2, 5, "status says two")
    assert "ScaledDown" in platform.reasons()


async def test_a_killed_process_is_replaced_at_once(platform):
    """SIGKILL: out of the endpoints' list at once, another process under the same name within about a second."""
    victim = platform.backend.crews["api"].slots["api-1"].child
    before = time.monotonic()
    os.kill(victim.pid, signal.SIGKILL)
    await eventually(lambda: platform.backend.crews["api"].slots["api-1"].ready is False, 1, "noticed", every_s=0.005)
    await eventually(lambda: platform.backend.crews["api"].slots["api-1"].ready, 5, "replaced")
    took = time.monotonic() - before
    print(f"killed → replaced: {took:.1f} s")
    assert took <= 15
    assert platform.backend.crews["api"].slots["api-1"].child.pid != victim.pid
    assert "PodReplaced" in platform.reasons()
    assert platform.backend.crews["api"].replicas == 2


async def test_an_edited_tier_is_acknowledged_by_every_limiter_within_five_seconds(platform):
    """A quota in the YAML: a new revision in the file, pushed to both gateways and the balancer, acked, told."""
    await eventually(lambda: platform.status.tiers.phase == "Active", 5, "acknowledged")
    before = time.monotonic()
    platform.edit(
        "  components:", "  tiers: {credentialFailures: {name: credential-ip, quota: 31, window: 60}}\n  components:"
    )
    await eventually(
        lambda: (s := platform.status.tiers).active_revision == 2 and s.phase == "Active" and s.pods.acked == 3,
        6,
        "revision 2 acknowledged",
    )
    print(f"an edited tier → acknowledged by all: {time.monotonic() - before:.1f} s")
    assert parse(tiers_file(platform.state, "shop").read_bytes()).spec.credential_failures.quota == 31
    assert platform.status.observed_generation == 2
    assert "TiersRotated" in platform.reasons()


async def test_a_refused_document_is_rolled_back(platform):
    """422 from one gateway: the old content returns as a newer revision everywhere, and is not tried again."""
    await eventually(lambda: platform.status.tiers.phase == "Active", 5, "acknowledged")
    platform.say("gateway-2", refuseTiers=True)
    platform.edit(
        "  components:", "  tiers: {credentialFailures: {name: credential-ip, quota: 32, window: 60}}\n  components:"
    )
    await eventually(lambda: platform.status.tiers.phase == "RollingBack", 5, "rolling back")
    platform.say("gateway-2")
    status = await eventually(lambda: (s := platform.status).tiers.phase == "RolledBack" and s, 5, "rolled back")
    assert status.tiers.active_revision == 3
    assert status.condition("TiersEnforced").reason == "RolledBack"
    assert parse(tiers_file(platform.state, "shop").read_bytes()).spec.credential_failures.quota == 30


async def test_an_open_breaker_is_in_the_status_within_two_seconds(platform):
    """Opened in one balancer: condition, summary, item; closed again: gone after the flap guard."""
    open_one = {"name": "api-1", "state": "open", "since": "2026-01-01T00:00:00.000Z", "reason": "5 failures"}
    platform.say("balancer", breakers=[open_one])
    before = time.monotonic()
    await eventually(lambda: platform.status.circuits.open == 1, 3, "open")
    print(f"an open breaker → in the status: {time.monotonic() - before:.1f} s")
    assert platform.status.condition("CircuitsClosed").reason == "CircuitOpen"
    assert [(i.component, i.name, i.pods) for i in platform.status.circuits.items] == [("balancer", "api-1", "1/1")]
    platform.say("balancer", breakers=[open_one | {"state": "closed"}])
    await eventually(lambda: platform.status.condition("CircuitsClosed").status == "True", 3, "closed")
    await eventually(lambda: platform.status.circuits.items == (), 16, "forgotten")
    assert {"CircuitOpened", "CircuitClosed"} <= set(platform.reasons())


async def test_a_schedule_raises_the_floor_while_it_lasts(platform):
    """An entry that is active now: processes are added at once, its next edge is shown; removed, it has ended."""
    entry = '{name: now, cron: "* * * * *", timeZone: Europe/Warsaw, duration: 2m, min: 4}'
    platform.edit("    maxReplicas: 6\n", f"    maxReplicas: 6\n    schedule: [{entry}]\n")
    await eventually(lambda: platform.status.summary.api == "4/4", 10, "the floor of the schedule")
    assert platform.component("api").decisions[0].reason == "ScheduleFloor"
    assert "ScheduleStarted" in platform.reasons()
    platform.edit(f"    schedule: [{entry}]\n", "")
    await eventually(lambda: "ScheduleEnded" in platform.reasons(), 5, "the end of the entry")
    assert platform.component("api").min == 2


async def test_a_schedule_that_cannot_be_read_is_refused_with_its_line(platform):
    """What no type sees: the field and its line in Accepted's message, the processes as before."""
    entry = '{name: now, cron: "0 24 * * *", duration: 2m, min: 4}'
    platform.edit("    maxReplicas: 6\n", f"    maxReplicas: 6\n    schedule: [{entry}]\n")
    await eventually(lambda: platform.status.condition("Accepted").reason == "Invalid", 5, "refused")
    assert "line 12: spec.components[2].schedule[0].cron" in platform.status.condition("Accepted").message
    assert platform.status.summary.api == "2/2"


async def test_a_spent_budget_adds_no_process(platform):
    """CapScaleUp: load that would double the apis adds none, and all that is asked says why; the line is on disk."""
    platform.edit(
        "  components:\n",
        "  budget: {maxReplicaHours: 1, per: Month, onExceeded: CapScaleUp, weights: {api: 1000}}\n  components:\n",
    )
    await eventually(lambda: platform.status.budget is not None, 5, "the budget")
    platform.say("api", rps=150)
    await eventually(lambda: "BudgetCapped" in platform.reasons(), 5, "the cap")
    assert platform.status.budget.per_hour == 2 + 1 + 2 * 1000
    assert len(platform.backend.crews["api"].slots) == 2
    await eventually(lambda: platform.status.condition("ScalingLimited").reason == "BudgetCapped", 5, "the condition")
    state = yaml.safe_load((tiers_file(platform.state, "shop").parent / "rotation.yaml").read_text())
    assert state["budget"][3] == platform.status.budget.per_hour


async def test_a_bad_manifest_changes_nothing_but_the_status(platform):
    """Accepted=False/Invalid names line and field; the last accepted spec stays; a good one heals it."""
    platform.edit("maxReplicas: 6", "maxReplicas: six")
    status = await eventually(
        lambda: (s := platform.status).condition("Accepted").status == "False" and s, 5, "refused"
    )
    assert status.condition("Accepted").reason == "Invalid"
    assert "maxReplicas" in status.condition("Accepted").message
    assert "line 11" in status.condition("Accepted").message
    assert status.condition("Stalled").status == "True"
    assert platform.backend.counts()["api"] == 2
    platform.edit("maxReplicas: six", "maxReplicas: 6")
    await eventually(lambda: platform.status.condition("Accepted").status == "True", 5, "accepted again")
    assert platform.status.observed_generation == 1


async def test_a_process_that_cannot_start_is_named_with_its_last_lines(tmp_path):
    """Start-up fails at once, not after the whole patience, and says what the process said."""
    made = Platform(tmp_path)
    made.say("balancer", exit=7)
    with pytest.raises(NotReadyError) as failure:
        await made.backend.start_all(20)
    await made.backend.stop_all(5)
    await made.ports.close()
    assert failure.value.instance == "balancer-1"
    assert "exit code 7" in failure.value.why
    assert "told to end" in failure.value.last_lines


async def test_children_die_with_a_killed_supervisor(tmp_path):
    """kill -9 of the starter: nobody is left two seconds later."""
    script = tmp_path / "starter.py"
    script.write_text(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "sys.argv = ['x']\n"
        f"sys.path.insert(0, {str(Path.cwd())!r})\n"
        "from tests.integration.test_controller import Platform\n"
        "async def main():\n"
        f"    made = Platform(Path({str(tmp_path / 'p')!r}))\n"
        "    await made.backend.start_all(20)\n"
        "    print(*made.backend.pids(), flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    (tmp_path / "p").mkdir()
    starter = await asyncio.create_subprocess_exec(sys.executable, str(script), stdout=asyncio.subprocess.PIPE)
    assert starter.stdout is not None
    pids = [int(pid) for pid in (await asyncio.wait_for(starter.stdout.readline(), 25)).split()]
    assert len(pids) == 5
    starter.kill()
    await starter.wait()

    def gone(pid):
        try:
            return "Z" in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True

    await eventually(lambda: all(map(gone, pids)), 2, "all gone")
