"""What all sources share: sets merged by name and address, hosts, complaints told once."""

from __future__ import annotations

import asyncio

import pytest

from services.runtime import endpoints
from services.runtime.endpoints import EndpointInfo, Source, authority, is_host, merged

ONE = EndpointInfo("api-1", "127.0.0.1", 1)


def test_of_doubles_the_first_counts():
    """Neither an id nor an address stands twice, whichever source it came from."""
    other = EndpointInfo("api-2", "127.0.0.2", 1)
    assert merged([(ONE, other), (EndpointInfo("api-1", "::1", 1), EndpointInfo("x", "127.0.0.2", 1))]) == (ONE, other)


def test_a_thousand_at_most():
    """What comes after the thousandth is left out."""
    many = tuple(EndpointInfo(f"api-{n}", "127.0.0.1", n) for n in range(1, 1200))
    assert merged([many]) == many[:1000]


@pytest.mark.parametrize(("host", "right"), [("api.shop", True), ("::1", True), ("10.0.0.1", True), ("a b", False), ("[::1]", False), ("", False)])  # fmt: skip
def test_hosts(host, right):
    """Names and addresses of both families, without brackets."""
    assert is_host(host) is right


def test_authority_brackets_ipv6():
    """As it stands in a URL."""
    assert (authority("::1", 80), authority("10.0.0.1", 80)) == ("[::1]:80", "10.0.0.1:80")


def test_a_complaint_is_told_once_and_taken_back(monkeypatch):
    """The same reason is one line, another one is another; being readable again is told; the last answer stays."""
    lines = []

    class Log:
        def warning(self, _event, **fields):
            lines.append(fields["reason"])

        def info(self, event, **_fields):
            lines.append(event)

    monkeypatch.setattr(endpoints, "log", Log())
    source = Source("x", (ONE,))
    for reason in ("gone", "gone", "odd"):
        assert not source._refuse(reason)
    assert source.found == (ONE,)
    assert not source._accept((ONE,))
    assert source._accept(())
    assert lines == ["gone", "odd", "endpoints can be read again"]


async def test_a_static_source_has_nothing_to_follow():
    """It ends at once instead of sleeping for ever."""
    told: list[None] = []
    async with asyncio.timeout(1):
        await Source("x", (ONE,)).follow(lambda: told.append(None))
    assert told == []
