"""The object every stage is called with."""

from __future__ import annotations

import pytest

from services.http1.exchange import NEW, NO_BODY, Exchange


def test_a_new_exchange() -> None:
    """It starts new, without body, upstream, deadline; a name that is not its own cannot be set on it."""
    x = Exchange(None, None, b"/a", 10)  # type: ignore[arg-type]
    assert (x.state, x.framing, x.upstream, x.deadline, x.path, x.body_max) == (NEW, NO_BODY, None, 0.0, b"/a", 10)
    assert x.replayable
    with pytest.raises(AttributeError):
        x.statsu = 200  # type: ignore[attr-defined]


def test_exchanges_share_nothing() -> None:
    """Each has its own lists."""
    x, y = (Exchange(None, None, b"/", 0) for _ in range(2))  # type: ignore[arg-type]
    x.fields.append(b"a")
    x.extra.append(b"b")
    x.special[b"c"] = b"d"
    assert (y.fields, y.extra, y.special, y.body) == ([], [], {}, [])
