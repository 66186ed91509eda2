"""Labels of endpoints are bounded."""

from __future__ import annotations

from services.balancer.series import LABELLED_MAX, Seconds
from services.runtime.metrics import Metrics


def test_the_sixty_fifth_endpoint_is_other() -> None:
    """Sixty-four endpoints have a series of their own, the rest share one; a name that goes makes room."""
    family = Metrics("balancer", "1").histogram("upstream_seconds", "-", ("endpoint",))
    seconds = Seconds(family)
    series = [seconds.of(f"api-{number}") for number in range(LABELLED_MAX + 2)]
    assert series[-1] is series[-2]
    assert (seconds.label("api-0"), seconds.label("api-64")) == ("api-0", "other")
    assert seconds.of("api-0") is series[0]
    seconds.drop("api-64")
    seconds.drop("api-0")
    assert seconds.label("api-0") == "other"
    assert seconds.of("api-99") not in series
    assert {key for key, _ in family.items()} == {(f"api-{number}",) for number in (*range(1, LABELLED_MAX), 99)} | {
        ("other",)
    }
