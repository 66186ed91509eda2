"""etcd, API server, controller manager and scheduler on loopback, ready in seconds, gone without a trace.

Everything is made per run in one temporary folder: the API server's certificate (it signs its own), the key of service accounts, the
administrator's token, the kubeconfig, the audit log that tells who called what. There is no node: pods stay Pending.

Callers: tests/cluster/conftest.py; tests/node/node.py, which gives it an address that pods reach.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from services.cli.embedded.child import end, spawn, tail
from tests.cluster.client import Client
from tests.harness import stores

START_S: Final = 60.0  # three seconds on an idle machine
END_S: Final = 10.0
POLL_S: Final = 0.02
LOOPBACK: Final = "127.0.0.1"
AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class StartError(Exception):
    """A program that ended or did not answer, with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running one. `folder` has its logs, `kubeconfig` is the administrator's."""

    url: str
    token: str
    folder: Path
    programs: Mapping[str, Path]
    address: str = LOOPBACK

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def authority(self) -> Path:
        """What signs the API server's certificate."""
        return self.folder / "pki" / "apiserver.crt"

    @property
    def audit_log(self) -> Path:
        """One JSON event a line, level Metadata, every request."""
        return self.folder / "audit.log"

    def client(self) -> Client:
        return Client(self.url, self.token, ssl.create_default_context(cafile=str(self.authority)))

    def audited(self) -> list[dict[str, Any]]:
        """Every request so far that was answered or began to stream."""
        return [json.loads(line) for line in self.audit_log.read_text().splitlines()]


@contextlib.contextmanager
def control_plane(programs: Mapping[str, Path], address: str = LOOPBACK) -> Iterator[ControlPlane]:
    """Starts one, waits until it is ready, ends it by process id in the reverse order. The API server listens on `address`."""
    with stores.folder("sapi-cluster-") as folder, contextlib.ExitStack() as running:
        etcd_port, peer_port, port = free_ports(3)
        plane = ControlPlane(f"https://{address}:{port}", secrets.token_urlsafe(24), folder, programs, address)
        etcd = f"http://127.0.0.1:{etcd_port}"
        _write_files(plane)

        def start(name: str, *flags: str, ready: Callable[[], bool]) -> None:
            log = folder / f"{name}.log"
            process = spawn([programs[name], *flags], log, death=signal.SIGKILL)
            running.callback(end, process, signal.SIGKILL, END_S)  # there is nothing to save
            _until(ready, process, log)

        start("etcd", *_etcd_flags(folder, etcd, peer_port), ready=lambda: _healthy(etcd))
        start("kube-apiserver", *_api_server_flags(plane, port, etcd), ready=lambda: _ready(plane, "/readyz"))
        start(
            "kube-controller-manager",
            *_controller_manager_flags(plane),
            ready=lambda: _ready(plane, "/api/v1/namespaces/default/serviceaccounts/default"),
        )
        start("kube-scheduler", *_controller_flags(plane), ready=lambda: True)
        yield plane


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, all different."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _healthy(etcd: str) -> bool:
    return httpx.get(f"{etcd}/health", trust_env=False).is_success


def _ready(plane: ControlPlane, path: str) -> bool:
    if not plane.authority.exists():
        return False
    with plane.client() as client:
        return client.ask("GET", path).is_success


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until it answers; its end is noticed at once."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError, ssl.SSLError):  # not listening; certificate half written
            if ready():
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise StartError(f"{log.stem} ended with {process.wait(POLL_S)}:\n{tail(log)}")
    raise StartError(f"{log.stem} did not answer within {START_S:.0f} s:\n{tail(log)}")


def _write_files(plane: ControlPlane) -> None:
    folder = plane.folder
    (folder / "tokens.csv").write_text(f"{plane.token},admin,admin,system:masters\n")
    (folder / "service-accounts.key").write_text(signing_key())
    (folder / "audit-policy.yaml").write_text(yaml.safe_dump(AUDIT_POLICY))
    cluster = {"server": plane.url, "certificate-authority": str(plane.authority)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": plane.token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    plane.kubeconfig.write_text(yaml.safe_dump(config))


def signing_key() -> str:
    """A new P-256 private key in PEM: RFC 5915's structure around 32 random bytes, the public half left for the reader to compute."""
    prime256v1 = bytes.fromhex("a00a06082a8648ce3d030107")
    der = bytes.fromhex("3031020101" + "0420") + secrets.token_bytes(32) + prime256v1
    return f"-----BEGIN EC PRIVATE KEY-----\n{base64.encodebytes(der).decode()}-----END EC PRIVATE KEY-----\n"


def _etcd_flags(folder: Path, url: str, peer_port: int) -> list[str]:
    peer = f"http://127.0.0.1:{peer_port}"
    return [
        f"--data-dir={folder / 'etcd'}",
        *(f"--{which}-client-urls={url}" for which in ("listen", "advertise")),
        *(f"--{which}={peer}" for which in ("listen-peer-urls", "initial-advertise-peer-urls")),
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # nothing outlives the run
    ]


def _api_server_flags(plane: ControlPlane, port: int, etcd: str) -> list[str]:
    key = plane.folder / "service-accounts.key"
    return [
        f"--etcd-servers={etcd}",
        f"--cert-dir={plane.folder / 'pki'}",
        f"--secure-port={port}",
        f"--bind-address={plane.address}",
        f"--advertise-address={plane.address}",
        # a loopback address would be refused for the Service `kubernetes`
        f"--endpoint-reconciler-type={'none' if plane.address == LOOPBACK else 'lease'}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--token-auth-file={plane.folder / 'tokens.csv'}",
        "--kubelet-preferred-address-types=InternalIP,Hostname",  # a node's name is in no DNS
        "--authorization-mode=RBAC",
        f"--audit-policy-file={plane.folder / 'audit-policy.yaml'}",
        f"--audit-log-path={plane.audit_log}",
    ]


def _controller_manager_flags(plane: ControlPlane) -> list[str]:
    return [
        *_controller_flags(plane),
        f"--service-account-private-key-file={plane.folder / 'service-accounts.key'}",
        f"--root-ca-file={plane.authority}",
        "--use-service-account-credentials",
        *(
            "--kube-api-qps=1000",
            "--kube-api-burst=1000",
        ),  # at 20 a second its start, a token per controller, takes 5 s
    ]


def _controller_flags(plane: ControlPlane) -> list[str]:
    """Alone, so without an election; port 0: nobody asks them anything."""
    return [f"--kubeconfig={plane.kubeconfig}", "--leader-elect=false", "--secure-port=0"]
