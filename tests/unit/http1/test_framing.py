"""Body framing: one spelling of a length, one coding; everything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.http1 import framing


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"0", 0),
        (b"5", 5),
        (b" 5\t", 5),
        (b"05", -1),
        (b"", -1),
        (b"+5", -1),
        (b"5,5", -1),
        (b"9" * 18, 10**18 - 1),
        (b"1" * 19, -1),
    ],
)
def test_content_length(value: bytes, length: int) -> None:
    """Digits without a leading zero, below 2^63."""
    assert framing.content_length(value) == length


@pytest.mark.parametrize(
    ("value", "slug"),
    [
        (b"chunked", ""),
        (b" Chunked\t", ""),
        (b"gzip", "not-implemented"),
        (b"gzip, chunked", "not-implemented"),
        (b"identity", "not-implemented"),
        (b"chunked, gzip", "bad-request"),
        (b"chunked, chunked", "bad-request"),
        (b",chunked", "bad-request"),
        (b"chunked;q=1", "bad-request"),
        (b"", "bad-request"),
    ],
)
def test_request_coding(value: bytes, slug: str) -> None:
    """Chunked alone is right; a coding we lack is 501, nonsense is 400; on HTTP/1.0 nothing is right."""
    assert framing.request_coding(value, http10=False) == slug
    assert framing.request_coding(value, http10=True) == "bad-request"


def test_is_chunked() -> None:
    """The one coding of an answer."""
    assert framing.is_chunked(b"Chunked ")
    assert not framing.is_chunked(b"gzip, chunked")


@given(st.binary(min_size=1, max_size=100))
def test_chunk(data: bytes) -> None:
    """A chunk parses back."""
    size, rest = framing.chunk(data).split(b"\r\n", 1)
    assert rest == data + b"\r\n"
    assert int(size, 16) == len(data)
