from __future__ import annotations

import pytest

from services.gateway.invalidations import Invalidations


class Ear:
    """Every port at once: keeps what it is told."""

    def __init__(self, name: str, told: list[str]) -> None:
        self._name, self._told = name, told

    def __getattr__(self, method: str):
        return lambda *words: self._told.append(" ".join((self._name, method, *words)))


@pytest.fixture
def told():
    return []


@pytest.fixture
def invalidations(told):
    return Invalidations(*(Ear(name, told) for name in ("keys", "sessions", "overrides", "limiter")))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("key:abc", ["keys forget abc"]),
        ("sess:123", ["sessions forget 123"]),
        ("user:u-1", ["keys forget_user u-1", "sessions forget_user u-1"]),
        ("override:ip:1.2.3.4", ["limiter forget ip:1.2.3.4", "overrides reload"]),
        ("later:thing", []),
        ("", []),
    ],
)
def test_each_message_reaches_its_cache(invalidations, told, payload, expected):
    """By the kind before the colon; kinds of a newer version are ignored."""
    invalidations.heard("inv:identity", payload)
    assert told == expected


def test_a_gap_distrusts_everything(invalidations, told):
    """After a lost subscription all is read anew."""
    invalidations.gap()
    assert told == ["keys distrust", "sessions distrust", "overrides reload"]
