from __future__ import annotations

import json
import time
from typing import Any

from services.gateway.health import GatewayHealth


def health(*, ready: bool = True, redis: bool = True) -> GatewayHealth:
    about = ("1.2.3", "gateway-1", time.time() - 5)
    return GatewayHealth(about, lambda: {"started": True, "balancers": ready}, lambda: redis)


def body(answer) -> Any:
    return json.loads(answer.body)


def test_health_is_always_200():
    """Who, which version, since when."""
    answer = health(ready=False, redis=False).answer("/health")
    assert answer.status == 200
    found = body(answer)
    assert (found["status"], found["service"], found["version"]) == ("healthy", "api-gateway", "1.2.3")
    assert 4 < found["uptime"] < 60
    assert body(health().answer("/health/live")) == {"status": "alive"}


def test_ready_tells_its_checks():
    """503 when a check is red; Redis is told, never counted."""
    for template in ("/ready", "/health/ready"):
        good = health(redis=False).answer(template)
        assert good.status == 200
        assert body(good)["redis"] == "disconnected"
        bad = health(ready=False).answer(template)
        assert bad.status == 503
        assert body(bad)["status"] == "not ready"
        assert body(bad)["checks"] == {"started": True, "balancers": False}
