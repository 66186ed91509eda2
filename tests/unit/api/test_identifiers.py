from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.identifiers import IDENTIFIER, IDENTIFIER_OR_RANGE
from services.api.limits import canonical
from services.api.overrides import canonical as canonical_of_override


@given(st.one_of(st.ip_addresses().map(str), st.ip_addresses(v=6).map(lambda ip: ip.exploded)))
def test_every_address_has_its_form(text: str) -> None:
    """Any address, compressed or not, is an identifier; its canonical form is the limiter's."""
    assert re.fullmatch(IDENTIFIER, f"ip:{text}")
    assert canonical(f"ip:{text}") is not None


@given(st.one_of(st.from_regex(IDENTIFIER, fullmatch=True), st.from_regex(IDENTIFIER_OR_RANGE, fullmatch=True)))
def test_the_pattern_admits_nothing_else(text: str) -> None:
    """Whatever the documented pattern lets through can be read."""
    assert canonical_of_override(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key:0123456789", "key:0123456789"),
        ("key:012345678", None),
        ("key:*", None),
        ("user:00000000-0000-0000-0000-000000000001", "user:00000000-0000-0000-0000-000000000001"),
        ("user:00000000000000000000000000000001", None),
        ("ip:192.0.2.1", "ip:192.0.2.1"),
        ("ip:::ffff:192.0.2.1", "ip:192.0.2.1"),
        ("ip:2001:DB8::7", "ip:2001:db8::/64"),
        ("ip:2001:db8::/64", "ip:2001:db8::/64"),
        ("ip:192.0.2.0/24", None),
        ("ip:300.1.1.1", None),
        ("other:x", None),
        ("", None),
    ],
)
def test_canonical(text: str, expected: str | None) -> None:
    """As the gateway writes it, or nothing."""
    assert canonical(text) == expected


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_ranges(address: ipaddress.IPv4Address, length: int) -> None:
    """An override's range loses its host bits."""
    expected = ipaddress.ip_network(f"{address}/{length}", strict=False)
    assert canonical_of_override(f"ip:{address}/{length}") == f"ip:{expected}"
