"""Refusals of the engine: llhttp's texts are what the table expects, and each slug is a known problem type."""

from __future__ import annotations

import httptools
import pytest

from services.core.problems import PROBLEMS
from services.core.verdicts import Refusal
from services.http1 import faults

TEXTS = {
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "Pause on PRI/Upgrade",
    b"GET / HTTP/1.2\r\n": "Invalid HTTP version",
    b"FOO / HTTP/1.1\r\n": "Invalid method encountered",
    b"GETX / HTTP/1.1\r\n": "Expected space after method",
    b"DESCRIBE / HTTP/1.1\r\n": "Invalid method for HTTP/x.x request",
    b"PUT / RTSP/1.0\r\n": "Invalid method for RTSP/x.x request",
    b"PUT / ICE/1.0\r\n": "Expected SOURCE method for ICE/x.x request",
}


@pytest.mark.parametrize("data", TEXTS)
def test_llhttp_says_what_the_table_expects(data: bytes) -> None:
    """Another llhttp with other words would turn 501 and 505 into 400: this pins them."""

    class Callbacks:
        def on_url(self, url: bytes) -> None: ...

    with pytest.raises(httptools.HttpParserError) as refused:
        httptools.HttpRequestParser(Callbacks()).feed_data(data)
    assert str(refused.value) == TEXTS[data]


def test_every_text_is_pinned() -> None:
    """The table holds no text that llhttp does not say."""
    assert set(faults.PARSER) == set(TEXTS.values())


def test_slugs_are_problem_types() -> None:
    """Each refusal can be rendered."""
    refusals = [value for value in vars(faults).values() if isinstance(value, Refusal)]
    assert len(refusals) > 20
    assert {refusal.slug for refusal in refusals} <= set(PROBLEMS)


def test_other_texts_are_bad_requests() -> None:
    """What has no line in the table is malformed, and closes."""
    refusal = faults.of_parser("Missing expected CR")
    assert (refusal.slug, refusal.close, refusal.detail) == ("bad-request", True, "Missing expected CR.")


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"FOO /", faults.METHOD_UNKNOWN),
        (b"\r\nget /", faults.METHOD_UNKNOWN),
        (b"FO", None),
        (b"PROXY TCP4", faults.METHOD_MALFORMED),
        (b"\x16\x03", faults.METHOD_MALFORMED),
        (b"F(O /", faults.METHOD_MALFORMED),
        (b"FOO\r\n", faults.METHOD_MALFORMED),
        (b" /", faults.METHOD_MALFORMED),
        (b"F" * 64, faults.METHOD_MALFORMED),
        (b"", None),
    ],
)
def test_unknown_method(start: bytes, found: Refusal | None) -> None:
    """A token before a space is a method we lack; anything else is none; too few bytes do not tell."""
    assert faults.unknown_method(start) is found
