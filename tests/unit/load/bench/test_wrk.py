from __future__ import annotations

import pytest

from tests.load.bench.wrk import LoadError, Said, micros, parse, wrong

REPORT = """Running 4s test @ http://127.0.0.1:18911/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    50.78us   41.63us   1.84ms   98.32%
    Req/Sec    59.31k     1.26k   60.73k    63.64%
  Latency Distribution
     50%  947.00us
     75%    1.05ms
     90%    1.59ms
     99%    2.11ms
  64826 requests in 1.10s, 10.08MB read
  Socket errors: connect 0, read 3, write 0, timeout 0
  Non-2xx or 3xx responses: 826
Requests/sec:  58948.80
Transfer/sec:      9.16MB
"""


def test_a_report_is_read() -> None:
    """Count, rate, both percentiles in µs, failures and broken connections come out of wrk's own words."""
    assert parse(REPORT) == Said(64826, 58948.8, 947.0, 2110.0, 826, "connect 0, read 3, write 0, timeout 0")


def test_a_clean_report_has_no_failures() -> None:
    """The lines that wrk leaves out when all went well count as zero."""
    clean = "\n".join(row for row in REPORT.splitlines() if "errors" not in row and "Non-2xx" not in row)
    assert (parse(clean).failed, parse(clean).broken) == (0, "")


@pytest.mark.parametrize(
    "text",
    ["unable to connect to 127.0.0.1:18912 Connection refused\n", REPORT.replace("64826 requests", "0 requests")],
)
def test_no_answers_are_an_error(text: str) -> None:
    """A proxy that does not answer gets no figure."""
    with pytest.raises(LoadError, match="no answers"):
        parse(text)


@pytest.mark.parametrize(("text", "value"), [("47.00us", 47.0), ("1.84ms", 1840.0), ("2.00s", 2e6), ("1.50m", 90e6)])
def test_durations(text: str, value: float) -> None:
    """wrk's four units, in µs."""
    assert micros(text) == pytest.approx(value)


def said(failed: int, broken: str = "") -> Said:
    return Said(1000, 1000.0, 1.0, 1.0, failed, broken)


@pytest.mark.parametrize(("found", "expect"), [(said(0), 200), (said(1000), 429)])
def test_expected_answers_are_a_measurement(found: Said, expect: int) -> None:
    """All admitted, or all refused."""
    assert wrong(found, expect) == ""


@pytest.mark.parametrize(
    ("found", "expect", "why"),
    [
        (said(1), 200, "1 of 1000 answers are not 200"),
        (said(999), 429, "1 of 1000 answers are not 429"),
        (said(0, "connect 0, read 1, write 0, timeout 0"), 200, "socket errors: connect 0, read 1"),
    ],
)
def test_one_unexpected_answer_is_none(found: Said, expect: int, why: str) -> None:
    """A single wrong one makes the row an error that says how many there were."""
    assert wrong(found, expect).startswith(why)
