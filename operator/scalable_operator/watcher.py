"""kopf, in a thread and on a loop of its own; what it sees is handed to the store on the controller's loop.

Of its own, because `kopf.operator` takes SIGTERM over and, when it ends, cancels every task of its loop: the
controller's ticks and the Lease must outlive it. kopf ending by itself is a dead watch: `failed` is called.

Caller: main.py, as leader.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import kopf

from scalable_operator.handlers import watches
from scalable_operator.store import Record, Store
from services.runtime.log import get_log

STOP_S: Final = 3.0
QUIET: Final = {"kopf": logging.WARNING, "kopf._core.reactor.running": logging.ERROR}
"""kopf tells of every event it saw, and that it does not own the signals."""
OURSELVES: Final[Any] = "scalable-api-operator"
"""For kopf's peering, which is off: without a name it asks for the user's, and uid 65532 of an image has none."""
log = get_log(__name__)


class Watcher:
    """`start` once, on the controller's loop."""

    def __init__(self, store: Store, namespaces: Sequence[str], failed: Callable[[], None]) -> None:
        self._store, self._namespaces, self._failed = store, namespaces, failed
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join, STOP_S)

    def _run(self) -> None:
        for name, level in QUIET.items():
            logging.getLogger(name).setLevel(level)
        try:
            asyncio.run(self._watch())
        except Exception:
            log.exception("watches ended")
        if not self._stop.is_set():
            self._loop.call_soon_threadsafe(self._failed)

    async def _watch(self) -> None:
        await kopf.operator(
            registry=watches.registry(self._take),
            settings=watches.settings(),
            standalone=True,
            identity=OURSELVES,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=self._stop,
        )

    def _take(self, what: str, record: Record) -> None:
        self._loop.call_soon_threadsafe(self._store.put if what == "put" else self._store.drop, record)
