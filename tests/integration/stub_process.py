"""A process as the controller sees one: a control port, and what it says there read from a file.

`python stub_process.py COMPONENT FOLDER`: `<FOLDER>/<COMPONENT>.json` (or `<INSTANCE>.json` over it) holds members of
the snapshot; members `refuseTiers` (422) and `exit` (at start, with that code) are its own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMPONENT, FOLDER = sys.argv[1], Path(sys.argv[2])
INSTANCE, TOKEN = os.environ["INSTANCE_ID"], os.environ["CONTROL_TOKEN"]
STATE: dict[str, Any] = {"seq": 0, "draining": False, "tier": {"revision": 0, "hash": "sha256:none"}}


def said() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (COMPONENT, INSTANCE):
        try:
            found |= json.loads((FOLDER / f"{name}.json").read_text())
        except (OSError, ValueError):
            continue
    return found


def snapshot() -> dict[str, Any]:
    STATE["seq"] += 1
    base = {"component": COMPONENT, "instance": INSTANCE, "version": "1.0.0", "startedAt": "", "at": "", "ready": True}
    zeros = {
        "inFlight": 0,
        "requests": 0,
        "rps": 0,
        "errorRate": 0,
        "loopLagMs": 0,
        "cpu": 0,
        "rssBytes": 0,
        "tasks": 0,
    }
    own = {"seq": STATE["seq"], "draining": STATE["draining"], "latency": {}, "tier": STATE["tier"]}
    scripted = {k: v for k, v in said().items() if k not in {"refuseTiers", "exit"}}
    return base | zeros | own | scripted | ({"ready": False} if STATE["draining"] else {})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self.answer(401, {})
        else:
            self.answer(200, snapshot())

    def do_POST(self) -> None:
        body = json.loads(self.body())
        STATE["draining"] = body["on"]
        self.answer(200, {"draining": STATE["draining"], "inFlight": 0})

    def do_PUT(self) -> None:
        body = self.body().decode()
        if said().get("refuseTiers"):
            self.answer(422, {"errors": ["spec.tiers[0]: not enforced by this version"]})
            return
        lines = dict(line.split(": ", 1) for line in body.splitlines() if line.startswith(("revision", "hash")))
        STATE["tier"] = {"revision": int(lines["revision"]), "hash": lines["hash"].strip("'\"")}
        self.answer(200, STATE["tier"])

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["content-length"]))

    def answer(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


def main() -> None:
    if "exit" in said():
        print("the stub was told to end")
        sys.exit(said()["exit"])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pair = socket.socket(fileno=int(os.environ["SUPERVISOR_FD"]))
    hello = {
        "component": COMPONENT,
        "instance": INSTANCE,
        "port": server.server_port,
        "controlPort": server.server_port,
    }
    pair.sendall(json.dumps(hello | {"pid": os.getpid()}).encode() + b"\n")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while pair.recv(64):
        time.sleep(0.01)
    os._exit(3)


main()
