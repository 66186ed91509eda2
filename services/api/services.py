"""Everything a handler may need, made once in app.py and handed over whole: no module-level singletons, so that a
test makes its own.

A handler takes it by `services: Services = Depends(services_of)`. Each part opens and closes itself; app.py says in
which order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from redis.asyncio import Redis

if TYPE_CHECKING:
    from services.api.audit import Audit
    from services.api.cache import Cache
    from services.api.db import Database
    from services.api.external import External
    from services.api.fleet.collection import Fleet
    from services.api.idempotency import Idempotency
    from services.api.links import LoginLinks
    from services.api.load import LoadMeter
    from services.api.logins import LoginGuard
    from services.api.metrics import ApiMetrics
    from services.api.notices import Notices
    from services.api.passwords import PasswordPool
    from services.api.probes import Probes
    from services.api.sessions import Sessions
    from services.api.tracing import RequestSpans
    from services.runtime.process import Runtime
    from services.runtime.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one api process."""

    settings: ApiSettings
    runtime: Runtime[ApiSettings]
    metrics: ApiMetrics
    load: LoadMeter
    db: Database
    redis: Redis
    notices: Notices  # publishes `inv:identity`
    sessions: Sessions
    passwords: PasswordPool
    logins: LoginGuard
    links: LoginLinks
    idempotency: Idempotency
    audit: Audit
    cache: Cache
    external: External
    fleet: Fleet
    probes: Probes  # `up`: store → did it answer last time
    spans: RequestSpans | None = None  # where they are exported


def services_of(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Deps = Annotated[Services, Depends(services_of)]
"""The annotation of a handler's parameter."""
