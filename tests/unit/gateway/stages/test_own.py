from __future__ import annotations

from services.core.verdicts import Answer
from services.gateway.identity import Identity
from services.gateway.stages.own import Own
from tests.unit.gateway.doubles import exchange, identity, metrics, record, slug

NOBODY = Identity("ip:192.0.2.7", "anonymous", "anonymous")
VIEWER = identity("viewer", ("admin:read",))


def asked(path: bytes, who: Identity, *, public: bool = False):
    x = exchange(path=path)
    x.route, x.identity = record(path=path), who
    return Own(metrics(), public=public)(x)


def test_old_fault_13e_metrics_and_lb_status_want_an_identity():
    """401 for nobody, 403 for a user, an answer for a viewer; `PUBLIC_OPS=open` lets anybody see them."""
    for path in (b"/metrics", b"/lb/status"):
        assert slug(asked(path, NOBODY)) == "authentication-required"
        assert slug(asked(path, identity())) == "forbidden"
    answer = asked(b"/metrics", VIEWER)
    assert isinstance(answer, Answer)
    assert b"gateway_build_info" in answer.body
    assert isinstance(asked(b"/metrics", NOBODY, public=True), Answer)


def test_the_status_of_the_balancers_goes_on():
    """The api knows all of them."""
    assert asked(b"/lb/status", VIEWER) is None
    assert asked(b"/lb/status", NOBODY, public=True) is None


def test_other_routes_are_not_its_business():
    """They go on untouched."""
    assert asked(b"/api/v1/status", NOBODY) is None
