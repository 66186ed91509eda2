"""Where requests go by who sends them: versions by share, endpoints by key."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from services.balancer.fleet import Fleet
from services.balancer.placing import Placing
from services.core.affinity import Shares
from services.core.identity import Claims, sign
from tests.unit.balancer.fakes import Bench, infos

CLAIMS = Claims("u-1", "", "s", "cookie", "user", "pro", ("read",), 0)


def bench(versions: Shares = (), affinity: str = "off") -> tuple[Bench, Placing]:
    """Four endpoints, the first of version 2, the others of version 1."""
    made = Bench(1)
    made.fleet.split(version for version, _ in versions)
    made.fleet.sync((replace(infos(1)[0], version="2"), *(replace(one, version="1") for one in infos(4)[1:])))
    for endpoint in made.all:
        made.fleet.probed(endpoint, good=True, draining=False, error="")
        endpoint.probation = False
    return made, Placing(made.fleet, versions, affinity)


def ids(fleet: Fleet, version: str) -> set[str]:
    return {endpoint.id for endpoint in fleet.endpoints.values() if endpoint.info.version == version}


async def test_versions_get_their_share() -> None:
    """A fifth of the callers go to version 2, each always to the same version; without a caller the request id decides."""
    made, placing = bench((("2", 20.0), ("1", 80.0)))
    counted: Counter[str] = Counter()
    for number in range(1000):
        x = made.exchange(x_client_ip=b"192.0.2.%d" % number)
        found = {placing.place(x, draw / 10, 0.5).id in ids(made.fleet, "2") for draw in range(10)}  # type: ignore[union-attr]
        assert len(found) == 1
        counted["2" if found.pop() else "1"] += 1
    assert counted["2"] == pytest.approx(200, abs=50)
    nobody = made.exchange()
    nobody.request_id = b"r-1"
    assert placing.place(nobody, 0.1, 0.1) is not None


async def test_an_empty_group_leaves_it_to_the_others() -> None:
    """A version without endpoints, or whose endpoints were all tried: picked as any other request."""
    made, placing = bench((("3", 100.0),))
    assert placing.place(made.exchange(), 0.1, 0.1) is None
    made, placing = bench((("2", 100.0),))
    x = made.exchange()
    only = placing.place(x, 0.1, 0.1)
    assert only is made.endpoint("api-1")
    x.excluded = (only,)
    assert placing.place(x, 0.1, 0.1) is None
    made.fleet.drain(made.endpoint("api-1"), 60)
    made.fleet.tick(x.now)
    assert made.fleet.groups["2"].targets == ()


@pytest.mark.parametrize(
    ("affinity", "special"),
    [
        ("identifier", {"x_gateway_identity": sign(CLAIMS, bytes(32))}),
        ("identifier", {"x_gateway_identity": sign(replace(CLAIMS, kid="0123456789"), bytes(32))}),
        ("identifier", {"x_gateway_identity": b"v1.rubbish", "x_client_ip": b"192.0.2.7"}),
        ("header:X-Tenant", {"x_tenant": b"acme"}),
        ("cookie:seat", {"cookie": b"a=b; seat=7; c=d"}),
    ],
)
async def test_the_same_caller_the_same_endpoint(affinity: str, special: dict[str, bytes]) -> None:
    """Whatever names it; a busy endpoint is passed over."""
    made, placing = bench(affinity=affinity)
    found = {placing.place(made.exchange(**special), draw / 10, 0.5) for draw in range(10)}
    assert len(found) == 1
    one = found.pop()
    assert one is not None
    one.active = 9
    assert placing.place(made.exchange(**special), 0.1, 0.5) not in {None, one}


@pytest.mark.parametrize("affinity", ["off", "identifier", "header:X-Tenant", "cookie:seat"])
async def test_without_a_key_it_is_anybodys(affinity: str) -> None:
    """No such field, no such cookie, a damaged one."""
    made, placing = bench(affinity=affinity)
    assert placing.place(made.exchange(), 0.1, 0.1) is None
    assert placing.place(made.exchange(cookie=b"other=1"), 0.1, 0.1) is None
    assert b"x-gateway-identity" in placing.names
