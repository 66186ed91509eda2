"""Control ports of pods that do not exist: one small HTTP server per loopback address, speaking contract.md 1.11.

A test sets what an address says (`in_flight`, `breakers`), and reads what it was told (`tier`, `draining`, `epochs`).

Caller: tests/cluster/operator_scene.py.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from services.schema import snapshot as snapshots
from services.schema.snapshot import BreakerState, Latency, LimiterState, Snapshot, TierState
from services.schema.tiers import parse

TOKEN = "a-control-token-of-the-tests"


@dataclass
class Voice:
    """One pod's control port."""

    component: str = "api"
    instance: str = ""
    in_flight: int = 0
    breakers: tuple[BreakerState, ...] = ()
    mute: bool = False
    refuse_tiers: bool = False
    tier: TierState | None = None
    draining: bool = False
    calls: list[str] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    seq: int = 0
    version: str = "1.0.0"
    newer: dict[str, Any] = field(default_factory=dict)

    def snapshot(self) -> bytes:
        """With the members that a newer version has."""
        return json.dumps(json.loads(snapshots.encode(self._snapshot())) | self.newer).encode()

    def _snapshot(self) -> Snapshot:
        self.seq += 1
        return Snapshot(
            component=self.component,
            instance=self.instance,
            version=self.version,
            started_at="2026-01-01T00:00:00Z",
            at="2026-01-01T00:00:00Z",
            seq=self.seq,
            ready=not self.draining,
            draining=self.draining,
            in_flight=self.in_flight,
            requests=0,
            rps=0.0,
            error_rate=0.0,
            latency=Latency(),
            loop_lag_ms=0.0,
            cpu=0.0,
            rss_bytes=0,
            tasks=0,
            tier=self.tier,
            breakers=self.breakers,
            limiter=LimiterState("exact", degraded=False) if self.component == "gateway" else None,
        )

    def told(self, path: str, body: bytes, epoch: int) -> tuple[int, Any]:
        """A PUT or POST: code and answer."""
        if self.epochs and epoch < max(self.epochs):
            self.calls.append(f"refused epoch {epoch}")
            return 409, {"errors": ["an older epoch"]}
        self.epochs.append(epoch)
        if path.endswith("/tiers"):
            made = parse(body)
            self.calls.append(f"tiers r{made.revision}")
            if self.refuse_tiers:
                return 422, {"errors": ["not by this version"]}
            self.tier = TierState(made.revision, made.hash)
            return 200, {"revision": made.revision, "hash": made.hash}
        self.draining = json.loads(body)["on"]
        self.calls.append("drain" if self.draining else "undrain")
        return 200, {"draining": self.draining, "inFlight": self.in_flight}


class ControlServers:
    """`voices[address]`; all listen on one port. `token` is what they want to hear."""

    def __init__(self, port: int) -> None:
        self.port, self.token = port, TOKEN
        self.voices: dict[str, Voice] = {}
        self._servers: list[ThreadingHTTPServer] = []

    def open(self, address: str, voice: Voice) -> None:
        self.voices[address] = voice
        server = ThreadingHTTPServer((address, self.port), _handler(self, voice))
        server.daemon_threads = True
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


def _handler(servers: ControlServers, voice: Voice) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer(b"")

        def do_PUT(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        do_POST = do_PUT  # noqa: N815  # http.server's name

        def _answer(self, body: bytes) -> None:
            if voice.mute:
                self.close_connection = True
                return
            if self.headers.get("Authorization") != f"Bearer {servers.token}":
                self._send(401, b'{"errors": ["token"]}')
            elif self.command == "GET":
                self._send(200, voice.snapshot())
            else:
                code, answer = voice.told(self.path, body, int(self.headers["X-Controller-Epoch"]))
                self._send(code, json.dumps(answer).encode())

        def _send(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Nothing."""

    return Handler
