"""What the controller's tests share: an object, its fleet, and a loop in virtual time."""

from __future__ import annotations

from typing import Any

from services.controller.backend import Api
from services.controller.fake import FakeBackend, FakePorts
from services.controller.loop import Controller
from services.controller.prometheus import Numbers
from services.schema.scalable_api import ScalableApiSpec
from services.schema.status import Condition, Status

START_MS = 1_790_000_000_000
API = {
    "name": "api",
    "minReplicas": 2,
    "maxReplicas": 8,
    "metrics": [{"name": "rps", "type": "RPS", "target": 60}],
    "drain": {"timeout": "10s", "settle": "3s"},
    "behavior": {
        "stableWindow": "6s",
        "panic": {"window": "2s"},
        "scaleDown": {"stabilizationWindow": "0s", "policies": [{"type": "Percent", "value": 50, "period": "2s"}]},
    },
}


def spec(**changes: Any) -> ScalableApiSpec:
    """Gateway, balancer, api; `api=` changes members of the api, the rest members of the spec."""
    api = API | changes.pop("api", {})
    components = changes.pop("components", [{"name": "gateway"}, {"name": "balancer"}, api])
    return ScalableApiSpec.model_validate({"components": components, **changes})


def api(**members: Any) -> Api:
    return Api(**{"key": "uid-1", "name": "shop", "generation": 1, "created_at": "t", "spec": spec(), **members})


class Stage:
    """A controller over the fakes; `seconds` runs that many ticks, a second apart."""

    def __init__(self, found: Api | None = None, **replicas: int) -> None:
        self.api = found or api()
        self.backend, self.ports = FakeBackend(self.api), FakePorts()
        self.now_ms = START_MS
        self.backend.now_ms = START_MS - 60_000
        for component, count in ({"gateway": 1, "balancer": 1, "api": 2} | replicas).items():
            self.backend.have(component, count)
        self.numbers: Numbers | None = None
        self.restart()

    def restart(self) -> None:
        """Another controller takes over: it knows what is stored and what it sees."""
        self.controller = Controller(
            self.backend, self.ports, version="1.0.0", numbers=self.numbers, now_ms=lambda: self.now_ms
        )

    async def seconds(self, count: int) -> Status:
        for _ in range(count):
            self.now_ms += 1000
            self.backend.now_ms = self.now_ms
            await self.controller.tick()
        return self.status

    def change(self, **members: Any) -> None:
        self.api = api(**{"generation": self.api.generation + 1, **members})
        self.backend.objects = {self.api.key: self.api}

    @property
    def status(self) -> Status:
        return self.backend.published[-1]

    def condition(self, kind: str) -> Condition:
        found = self.status.condition(kind)
        assert found is not None
        return found

    def reasons(self) -> list[str]:
        return [event.reason for event in self.backend.events]

    def count(self, component: str) -> int:
        return len(self.backend.workloads[component].pods)
