from __future__ import annotations

import pytest

from services.gateway.stages.bound import bound, client_timeout_ms
from tests.unit.gateway.doubles import exchange, slug


def test_a_declared_body_over_the_limit_is_413():
    """By the declared length alone, unread; the limit is told."""
    x = exchange()
    x.body_max, x.length = 4096, 4097
    out = bound(x)
    assert slug(out) == "content-too-large"
    assert out is not None
    assert out.facts["limit"] == 4096  # type: ignore[union-attr]
    x.length = 4096
    assert bound(x) is None


def test_the_client_may_shorten_its_deadline():
    """Never lengthen it."""
    x = exchange(x_request_timeout_ms=b"1500")
    assert bound(x) is None
    assert x.deadline == pytest.approx(x.started + 1.5)
    x = exchange(x_request_timeout_ms=b"30000")
    x.deadline = x.started + 2
    bound(x)
    assert x.deadline == pytest.approx(x.started + 2)
    x = exchange(x_request_timeout_ms=b"10")
    x.deadline = 0.0
    bound(x)
    assert x.deadline == pytest.approx(x.started + 0.01)


@pytest.mark.parametrize("value", [b"", b"0", b"30001", b"1.5", b"-1", b"+1", b"1e3", b"1, 2", b"000001", "١".encode()])
def test_a_malformed_timeout_is_400(value):
    """A whole number from 1 to 30000, once."""
    assert client_timeout_ms(value) is None
    assert slug(bound(exchange(x_request_timeout_ms=value))) == "bad-request"
