from __future__ import annotations

from typing import Any

import pytest

from services.api.access import Caller
from services.api.audit import SEVERITY, Audit, actor, valid_ip
from services.api.metrics import ApiMetrics
from services.runtime.metrics import Metrics
from tests.unit.api.offline import USER, claims


class Recorder:
    """A connection that keeps what it was told."""

    def __init__(self) -> None:
        self.args: tuple[Any, ...] = ()

    async def value(self, _statement: object, *args: Any) -> int:
        self.args = args
        return 7


def test_actor() -> None:
    """Who acted: a key by its id, a session by its user, else nobody."""
    assert actor(Caller(claims("user", key="0123456789"), "", "")) == ("key", "0123456789")
    assert actor(Caller(claims("user"), "", "")) == ("user", USER)
    assert actor(Caller(None, "", "")) == ("anonymous", None)


@pytest.mark.parametrize(
    ("address", "ip"), [("192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("unix", None), ("", None)]
)
def test_valid_ip(address: str, ip: str | None) -> None:
    """What is no address is no reason to lose the row."""
    assert valid_ip(address) == ip


def test_severity_is_set_per_action() -> None:
    """Logging in and out raises no alarm, failing once is a notice; only brute force is security (old fault 15a)."""
    assert [action for action, severity in SEVERITY.items() if severity == "security"] == ["security.brute_force"]
    assert SEVERITY["user.login_failed"] == "notice"


async def test_append() -> None:
    """The row has who, where from, which request, which instance; the metric counts it; an unknown action is our
    fault.
    """
    metrics, connection = ApiMetrics(Metrics("api", "1")), Recorder()
    audit = Audit("api-1", metrics)
    who = Caller(claims("user"), "192.0.2.1", "r1")
    assert await audit.append(connection, who, "user.login", target=("user", USER), details={"a": 1}) == 7  # type: ignore[arg-type]
    assert connection.args[1:] == (
        "user",
        USER,
        "user.login",
        "user",
        USER,
        "192.0.2.1",
        "r1",
        "info",
        '{"a": 1}',
        "api-1",
    )
    assert metrics.audit_appends.items() == [(("user.login",), 1)]
    with pytest.raises(KeyError):
        await audit.append(connection, who, "no.such", target=None)  # type: ignore[arg-type]
