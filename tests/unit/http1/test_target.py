"""Targets: idempotent, never above the root, and what is not a target is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.http1.target import Target, find_odd, is_authority, normalise


@pytest.mark.parametrize(
    ("given_", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"/a/b?x=%zz//..", b"/a/b", b"?x=%zz//.."),
        (b"/a//b", b"/a/b", b""),
        (b"//a", b"/a", b""),
        (b"/a/./b/../c", b"/a/c", b""),
        (b"/a/..", b"/", b""),
        (b"/a/b/..", b"/a/", b""),
        (b"/a/.", b"/a/", b""),
        (b"/%7Euser/%61", b"/~user/a", b""),
        (b"/%3a%3A", b"/%3A%3A", b""),
        (b"/%252e", b"/%252e", b""),
        (b"/%2e%2e/a/%2E", None, b""),
        (b"/a/%2e%2e/b", b"/b", b""),
        (b"/caf%c3%a9", b"/caf%C3%A9", b""),
        (b"/a;x=y/b", b"/a;x=y/b", b""),
        (b"/.well-known/x", b"/.well-known/x", b""),
        (b"/a?", b"/a", b"?"),
        (b"/..", None, b""),
    ],
)
def test_normal_forms(given_: bytes, path: bytes | None, query: bytes) -> None:
    """RFC 3986 6.2.2 once: unreserved escapes decoded, the others in capitals, slashes and dots resolved; above the root is refused."""
    found = normalise(given_)
    if path is None:
        assert found == "target-above-root"
    else:
        assert found == Target(path, query)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (b"/%00", "target-forbidden-escape"),
        (b"/%2f", "target-forbidden-escape"),
        (b"/%5c", "target-forbidden-escape"),
        (b"/%7F", "target-forbidden-escape"),
        (b"/%zz", "target-escape"),
        (b"/%4", "target-escape"),
        (b"/%", "target-escape"),
        (b"/%+1", "target-escape"),
        (b"/%c0%af", "target-utf8"),
        (b"/%ff", "target-utf8"),
        (b"/%ed%a0%80", "target-utf8"),
        (b"/a b", "target-character"),
        (b"/a\\b", "target-character"),
        (b"/a#b", "target-character"),
        (b"/a?b#c", "target-character"),
        (b"/\xc3\xa9", "target-character"),
        (b"a", "target-form"),
        (b"*", "target-form"),
        (b"", "target-form"),
        (b"ftp://a/", "target-form"),
        (b"http://u@a/", "target-authority"),
        (b"http:///a", "target-authority"),
    ],
)
def test_refused(target: bytes, reason: str) -> None:
    """Each refused target says what was wrong."""
    assert normalise(target) == reason


def test_absolute_form() -> None:
    """Its authority comes with it, its path is normalised, an empty one is the root."""
    assert normalise(b"HTTPS://a.b:1?q") == Target(b"/", b"?q", b"a.b:1")
    assert normalise(b"http://a/x/../y") == Target(b"/y", b"", b"a")


@given(
    st.lists(
        st.sampled_from([b"/", b".", b"..", b"a", b"%2e", b"%61", b"%25", b"%c3%a9", b"?", b"%2F", b";", b"%"]),
        max_size=12,
    )
)
def test_idempotent_and_inside_the_root(parts: list[bytes]) -> None:
    """f(f(x)) = f(x), the result starts at the root and holds nothing to resolve (invariant 5)."""
    found = normalise(b"/" + b"".join(parts))
    if isinstance(found, str):
        return
    assert normalise(found.path + found.query) == found
    segments = found.path.split(b"/")
    assert segments[0] == b""
    assert b".." not in segments
    assert b"." not in segments
    assert b"" not in segments[1:-1]


@given(st.binary(max_size=20))
def test_plain_targets_are_normal(raw: bytes) -> None:
    """What the fast path lets through is its own normal form."""
    target = b"/" + raw
    if find_odd(target) is None:
        found = normalise(target)
        assert isinstance(found, Target)
        assert found.path + found.query == target


@pytest.mark.parametrize("authority", [b"a", b"a:80", b"a:", b"[::1]", b"[::1]:443", b"a%20b", b"1.2.3.4:65535"])
def test_authorities(authority: bytes) -> None:
    """A host with or without a port."""
    assert is_authority(authority)


@pytest.mark.parametrize(
    "authority", [b"", b":80", b"a:65536", b"a:x", b"a,b", b"u@a", b"a/b", b"[::1", b"a b", b"a%zz", b"a:80:80"]
)
def test_no_authorities(authority: bytes) -> None:
    """Lists, userinfo, paths, bad ports."""
    assert not is_authority(authority)
