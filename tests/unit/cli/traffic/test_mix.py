"""Who asks for what."""

from __future__ import annotations

from collections import Counter
from itertools import cycle

from services.cli.traffic import mix

KEYS = {"free": "F", "pro": "P", "enterprise": "E"}


def test_the_mix_is_70_20_5_5() -> None:
    """Of a hundred evenly drawn requests 70 list, 20 read, 5 write, 5 call the external dependency."""
    kinds: Counter[str] = Counter()
    for hundredth in range(100):
        line = mix.mixed("K", hundredth, cycle([hundredth / 100, 0.5]).__next__).split(b"\r\n", 1)[0].decode()
        kind = (
            "list" if "?page" in line else "write" if "POST" in line else "external" if "external" in line else "item"
        )
        kinds[kind] += 1
    assert kinds == {"list": 70, "item": 20, "write": 5, "external": 5}


def test_four_tiers_share_the_rate() -> None:
    """The streams add up to the rate; anonymous load has no key and stays below its quota."""
    streams = mix.steady(KEYS, 40)
    assert round(sum(s.rate for s in streams), 6) == 40
    assert streams[0].rate * 60 < 100
    assert b"x-api-key" not in streams[0].make(0)
    assert [key for stream in streams[1:] for key in b"FPE" if b"x-api-key: %c" % key in stream.make(0)] == list(b"FPE")


def test_reads_only_read() -> None:
    """What is retried may only read."""
    assert all(stream.make(n).startswith(b"GET ") for stream in mix.reads(KEYS, 10) for n in range(20))
