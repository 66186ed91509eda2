"""A node's own network, processes and mounts, so that the machine it runs on stays as it was.

The network is the calling thread's too: what a test asks and starts inside of `network()` is inside, with no prefix before each command.
Processes and mounts are a holder's: when it dies, even by SIGKILL of the whole test run, the kernel ends every pod and lets go of every
mount. (`ip netns exec` would remount /sys and so hide /sys/fs/cgroup.)

Caller: tests/node/node.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.cli.embedded.child import end, spawn, tail

CLONE_NEWNET: Final = 0x40000000
CGROUPS: Final = Path("/sys/fs/cgroup")
WEIGHTS: Final = {"cpu.shares": 1024, "cpu.weight": 100}  # of one core: version 1's, version 2's
_libc = ctypes.CDLL(None, use_errno=True)
# /run and /var/log hold names that kubelet and CNI choose (/run/netns, /var/log/containers). PID 1 ignores SIGCHLD: the kernel then reaps
# what containerd's shims leave to it.
HOLD: Final = (
    "mount -t tmpfs tmpfs /run && mount --bind {logs} /var/log && trap '' CHLD && echo held && exec sleep infinity"
)


@contextlib.contextmanager
def network(address: str) -> Iterator[None]:
    """This thread, and what it starts from now on, in a network of its own that has `address`."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _call("unshare", CLONE_NEWNET)
        try:
            for line in _links(address):
                subprocess.run(line.split(), check=True, stdout=subprocess.DEVNULL)
            yield
        finally:
            _call("setns", home, CLONE_NEWNET)
    finally:
        os.close(home)


def _links(address: str) -> list[str]:
    return [
        "ip link set lo up",
        "ip link add node0 type bridge",  # holds the address; a kernel may have no `dummy`
        f"ip address add {address}/24 dev node0",
        "ip link set node0 up",
        f"ip route add default via {address} dev node0",  # kubelet and kube-proxy look for one
        "sysctl -qw net.ipv4.ip_forward=1",
    ]


@contextlib.contextmanager
def processes(logs: Path) -> Iterator[list[str]]:
    """Processes and mounts of their own, `logs` as their /var/log: yields what to put before a command that joins them."""
    log = logs / "holder.log"
    apart = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    holder = spawn([*apart, "sh", "-c", HOLD.format(logs=logs)], log, death=signal.SIGKILL)
    try:
        _held(holder, log)
        first = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0]
        try:
            yield ["nsenter", f"--target={first}", "--pid", "--mount", "--"]
        finally:
            os.kill(int(first), signal.SIGKILL)  # unshare, its parent, ends when the kernel has ended all the others
            holder.wait(30)
    finally:
        end(holder, signal.SIGKILL, 10)


def _held(holder: subprocess.Popen[bytes], log: Path) -> None:
    while "held" not in tail(log, 1):
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise OSError(f"no namespaces: unshare ended with {holder.wait(0.01)}: {tail(log)}")


@contextlib.contextmanager
def control_groups(name: str) -> Iterator[str]:
    """An empty control group of that name in each hierarchy, removed with all that grew in it. For its cores it weighs what kubelet gives all
    pods of a node: by default a group weighs as much as one process beside it, and the control plane here would take the pods' time.
    """
    tops = [CGROUPS / name] if (CGROUPS / "cgroup.controllers").exists() else [h / name for h in _hierarchies()]
    for top in tops:
        top.mkdir()
        for weight, one in WEIGHTS.items():
            if (top / weight).exists():
                (top / weight).write_text(str(one * (os.cpu_count() or 1)))
    try:
        yield f"/{name}"
    finally:
        for top in tops:
            _remove(top)


def _hierarchies() -> list[Path]:
    """Version 1's: a folder a controller, some of them links to a shared one."""
    return [folder for folder in CGROUPS.iterdir() if folder.is_dir() and not folder.is_symlink()]


def _remove(group: Path) -> None:
    for child in group.iterdir():
        if child.is_dir():
            _remove(child)
    group.rmdir()


def _call(name: str, *numbers: int) -> None:
    if getattr(_libc, name)(*numbers) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
