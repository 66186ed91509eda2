"""Certificates for tests, made anew by an authority that lives as long as the run."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path

import trustme


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


def write(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """A fresh certificate for `name` and 127.0.0.1: the paths of its files, replaced as a whole."""
    made = authority().issue_cert(name, "127.0.0.1")
    for file, pem in (
        ("tls.crt", b"".join(p.bytes() for p in made.cert_chain_pems)),
        ("tls.key", made.private_key_pem.bytes()),
    ):
        fresh = folder / f"{file}.new"
        fresh.write_bytes(pem)
        fresh.replace(folder / file)
    return folder / "tls.crt", folder / "tls.key"


def client() -> ssl.SSLContext:
    """Trusts that authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context
