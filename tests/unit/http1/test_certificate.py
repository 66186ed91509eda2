"""The listener's certificate: made from two files, made anew when they change, left alone when they are wrong."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from services.http1.certificate import Certificate, load
from services.runtime.settings import SettingsError
from tests.harness.wait import eventually
from tests.unit.http1.certificates import write


def test_what_is_spoken(tmp_path: Path) -> None:
    """TLS 1.2 and newer, no renegotiation."""
    context = load(*write(tmp_path))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


def broken(tmp_path: Path, what: str) -> tuple[Path, Path]:
    cert, key = write(tmp_path)
    if what == "no cert":
        cert.unlink()
    elif what == "no key":
        key.unlink()
    elif what == "cert is none":
        cert.write_text("-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n")
    elif what == "key is none":
        key.write_text("rubbish")
    elif what == "empty cert":
        cert.write_text("")
    elif what == "another key":
        other = tmp_path / "other"
        other.mkdir(exist_ok=True)
        key.write_bytes(write(other)[1].read_bytes())
    return cert, key


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("no cert", r"TLS_CERT_PATH=.*tls\.crt: cannot be read: No such file"),
        ("no key", r"TLS_KEY_PATH=.*tls\.key: cannot be read: No such file"),
        ("cert is none", r"TLS_CERT_PATH=.*tls\.crt: holds no certificate in PEM"),
        ("empty cert", r"TLS_CERT_PATH=.*tls\.crt: holds no certificate in PEM"),
        ("key is none", r"TLS_KEY_PATH=.*tls\.key: holds no private key in PEM without a password"),
        ("another key", r"TLS_KEY_PATH=.*tls\.key: is not the key of the first certificate"),
    ],
)
def test_wrong_files_name_their_setting(tmp_path: Path, what: str, says: str) -> None:
    """At the start the process ends with it; later the certificate before stays in force, and right files are taken again."""
    with pytest.raises(SettingsError, match=says):
        load(*broken(tmp_path, what))
    certificate = Certificate(*write(tmp_path))
    before = certificate.context
    broken(tmp_path, what)
    certificate.refresh()
    assert certificate.context is before
    write(tmp_path)
    certificate.refresh()
    assert certificate.context is not before


def test_the_same_files_are_read_once(tmp_path: Path) -> None:
    """A look that finds nothing new keeps the context."""
    certificate = Certificate(*write(tmp_path))
    before = certificate.context
    certificate.refresh()
    assert certificate.context is before


async def test_it_looks_by_itself(tmp_path: Path) -> None:
    """New files are in force within a second or so, until it is stopped."""
    certificate = Certificate(*write(tmp_path))
    before = certificate.context
    certificate.start()
    write(tmp_path)
    await eventually(lambda: certificate.context is not before, 5, "the new one is in force")
    await certificate.stop()
