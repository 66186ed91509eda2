"""`scalable-api demo`: the phases once, a line each, then five requests a second until stopped. `up` starts it as a
child.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from pathlib import Path
from typing import Final

from services.cli import instance as instances
from services.cli.api_client import ApiClient
from services.cli.errors import DONE, CliError
from services.cli.instance import Instance
from services.cli.output import clean, say
from services.cli.targets.local import door_of
from services.cli.traffic import mix
from services.cli.traffic.phases import EXTERNAL, PHASES, USUAL, Phase, Stage
from services.cli.traffic.streams import Sender, Tally

AFTERWARDS_RPS: Final = 5.0
CHUNK_S: Final = 10.0
FIRST_WAIT_S: Final = 2.0  # one look at the banner


def run(factor: float, *, once: bool) -> int:
    """Ends with the instance, or on a signal."""
    return asyncio.run(_until_stopped(instances.current(), factor, once=once))


async def _until_stopped(instance: Instance, factor: float, *, once: bool) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    work = asyncio.ensure_future(_demo(instance, factor, once=once))  # noqa: TID251  # awaited below
    stopping = asyncio.ensure_future(stop.wait())  # noqa: TID251  # cancelled below
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not work.done():
        work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    return DONE


def demo_keys(instance: Instance) -> dict[str, str]:
    path = Path(instance.data) / "demo-keys.json"
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise CliError("", "this instance has no demo keys", str(error), "scalable-api up --demo") from None


async def _demo(instance: Instance, factor: float, *, once: bool) -> None:
    sender, keys = Sender(instance.url), demo_keys(instance)
    try:
        async with await ApiClient.login(door_of(instance)) as admin:
            stage = Stage(instance, keys, sender, admin, factor)
            await asyncio.sleep(FIRST_WAIT_S)
            try:
                for phase in PHASES:
                    await one(stage, phase)
            finally:
                with contextlib.suppress(CliError):
                    await admin.call("PUT", EXTERNAL, USUAL)
        while not once and instances.alive(instance.pid):
            await sender.run(mix.steady(keys, min(stage.rate(AFTERWARDS_RPS), 50)), CHUNK_S, Tally())
    finally:
        sender.close()


async def one(stage: Stage, phase: Phase) -> None:
    """A phase that cannot be played says why; the next one still comes."""
    say(f"{time.strftime('%H:%M:%S')}  {phase.name:<14}{phase.seconds:.0f} s …")
    try:
        said = await phase.run(stage, phase.seconds)
    except CliError as error:
        said = f"not played: {error.what}"
    say(f"{time.strftime('%H:%M:%S')}  {phase.name:<14}{clean(said)}")
