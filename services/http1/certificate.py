"""The certificate of a TLS listener: two files, looked at twice a second, in force for the connections that come after.

A Secret's volume is replaced by a symlink swap, which inotify on the file misses, so the files are read when identity,
size or time of one has changed (as runtime/tiers.py does). Each reading makes a context of its own: a wrong file leaves
the one in force untouched, and open connections keep the one they began with.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import Final

from services.runtime import tasks
from services.runtime.log import get_log
from services.runtime.settings import SettingsError

LOOK_S: Final = 0.5
ALPN: Final = ["http/1.1"]
NO_PASSWORD: Final = b""  # OpenSSL would ask the terminal for one

Seen = tuple[tuple[int, int, int], ...]
log = get_log(__name__)


class Certificate:
    """`context` is for the next handshake. Raises SettingsError when made from files that are wrong."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert, self._key = cert, key
        self._seen = self._look()
        self.context = load(cert, key)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = tasks.spawn(self._watch(), name="certificate")

    async def stop(self) -> None:
        await tasks.stop(self._task)

    def refresh(self) -> None:
        """Take the files if they have changed and are right."""
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.context = load(self._cert, self._key)
        except SettingsError as error:
            log.warning("certificate refused; the one before stays in force", reason=str(error))
        else:
            log.info("certificate in force", path=str(self._cert))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.refresh()

    def _look(self) -> Seen:
        """A file that is away for a moment counts as changed."""
        return tuple(_stamp(path) for path in (self._cert, self._key))


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = os.stat(path)  # noqa: PTH116  # follows the Secret's symlink; a local file, microseconds
    except OSError:
        return (0, 0, 0)
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def load(cert: Path, key: Path) -> ssl.SSLContext:
    """The context of a listener: TLS 1.2 or newer, HTTP/1.1 alone, no renegotiation."""
    for name, path in (("TLS_CERT_PATH", cert), ("TLS_KEY_PATH", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{name}={path}: cannot be read: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(ALPN)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cert)
    except ssl.SSLError:
        raise SettingsError(f"TLS_CERT_PATH={cert}: holds no certificate in PEM") from None
    try:
        context.load_cert_chain(cert, key, NO_PASSWORD)
    except ssl.SSLError as error:
        rule = (
            "is not the key of the first certificate in TLS_CERT_PATH"
            if error.reason == "KEY_VALUES_MISMATCH"
            else "holds no private key in PEM without a password"
        )
        raise SettingsError(f"TLS_KEY_PATH={key}: {rule}") from None
    return context
