from __future__ import annotations

import pytest

from tests.load.bench.versions import machine, model, number


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nginx version: nginx/1.22.1\n", "1.22.1"),
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12-1+deb12u4"),
        ("wrk debian/4.1.0-3+b2 [epoll] Copyright", "4.1.0-3+b2"),
        ("envoy  version: 9e5580933739775e/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0"),
        ("something else\n", "something else"),
    ],
)
def test_version_numbers(text: str, found: str) -> None:
    """The first number with a dot in what a program says of itself, else all it says."""
    assert number(text) == found


def test_the_processor_is_named() -> None:
    """As /proc/cpuinfo has it; empty where it has none."""
    assert model("processor\t: 0\nmodel name\t: A CPU @ 2.0GHz\nmodel name\t: B\n") == "A CPU @ 2.0GHz"
    assert model("processor : 0\n") == ""


def test_the_interpreter_build_is_told() -> None:
    """Ratios depend on it."""
    assert set(machine()["interpreter"]) == {"version", "compiler", "pgo", "shared"}
