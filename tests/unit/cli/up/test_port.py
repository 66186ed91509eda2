"""The clients' port."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from services.cli.errors import CliError
from services.cli.up import port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def test_e101_names_the_holder(taken: int) -> None:
    """A port asked for and taken is refused with who has it and another to try."""
    with pytest.raises(CliError) as failed:
        port.reserve("127.0.0.1", taken)
    assert failed.value.code == "E101"
    assert f"127.0.0.1:{taken}" in failed.value.why
    assert f"--port {taken + 10}" in failed.value.next_step


def test_the_next_free_one(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a wish the usual port's neighbours are tried, and the banner learns who has the usual one."""
    monkeypatch.setattr(port, "USUAL", taken)
    monkeypatch.setattr(port, "OTHERS", (0,))
    found = port.reserve("127.0.0.1", None)
    assert found.port != taken
    assert str(taken) in found.holder
    found.release()
    monkeypatch.setattr(port, "OTHERS", ())
    with pytest.raises(CliError, match="all in use"):
        port.reserve("127.0.0.1", None)


@pytest.mark.skipif(not port.SHARED, reason="SO_REUSEPORT spreads connections on Linux only")
def test_a_reservation_lets_gateways_in_and_nobody_else() -> None:
    """Beside the reservation a gateway binds with SO_REUSEPORT; another `up` and a plain bind are refused."""
    held = port.reserve("127.0.0.1", 0)
    with socket.socket() as gateway, socket.socket() as stranger:
        gateway.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        gateway.bind(("127.0.0.1", held.port))
        with pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", held.port))
    with pytest.raises(CliError):
        port.reserve("127.0.0.1", held.port)
    held.release()
    port.reserve("127.0.0.1", held.port).release()


def test_an_address_that_is_not_ours() -> None:
    """An address of another machine is E101 as well, with the reason."""
    with pytest.raises(CliError) as failed:
        port.reserve("192.0.2.1", 0)
    assert failed.value.code == "E101"


@pytest.mark.parametrize(
    ("out", "found"),
    [
        ('LISTEN 0 511 127.0.0.1:8080 0.0.0.0:* users:(("nginx",pid=812,fd=6))\n', ("nginx", "812")),
        ("p812\ncnginx\n", ("nginx", "812")),
        ("", ("", "")),
    ],
)
def test_what_ss_and_lsof_say(out: str, found: tuple[str, str]) -> None:
    """Both tools' forms are read; no answer is no name."""
    assert port._parsed(out) == found


def test_the_holder_is_named_where_the_system_tells(taken: int) -> None:
    """With ss or lsof there it is this process, else nobody by name."""
    assert port.holder_of(taken) == "another process" or str(os.getpid()) in port.holder_of(taken)
