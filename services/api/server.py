"""The data port: uvicorn on our own socket and loop; the process's signals are process.py's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from services.runtime import tasks
from services.runtime.control import bind

KEEP_ALIVE_S: Final = (
    75  # longer than the balancer keeps an idle connection (30 s): it closes first, so no request meets a closed one
)


class Server(uvicorn.Server):
    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # X-Client-IP is the gateway's word for it
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        super().__init__(config)
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    def listen(self, host: str, port: int) -> int:
        """Bind, serve, return the port. Raises OSError when it is taken."""
        sock = bind(host, port)
        self._task = tasks.spawn(self.serve(sockets=[sock]), name="data-port")
        return int(sock.getsockname()[1])

    async def finish(self, within_s: float) -> None:
        """Stop listening, let what is in flight end within the time, cut the rest."""
        self.config.timeout_graceful_shutdown = max(1, round(within_s))
        self.should_exit = True
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s + 1.0):
                    await asyncio.shield(self._task)
            await tasks.stop(self._task)
