"""`GET /lb/status` (contract.md 1.8): the servers over all balancers; for viewers, or for anyone with
PUBLIC_OPS=open.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends

from services.api.access import ANY, VIEWER, AccessRouter, Caller, caller, refusal
from services.api.fleet import servers
from services.api.models import AnswerModel, Time
from services.api.services import Deps

router = AccessRouter(tags=("Fleet",))


class Server(AnswerModel):
    """`successRate` like `99.00%`, or `N/A`; answers of 500 and above are failures."""

    url: str
    healthy: bool
    weight: float
    current_connections: int
    total_requests: int
    failed_requests: int
    success_rate: Annotated[str, "a percentage"]
    last_check: Time | None
    last_error: str | None
    circuit_state: Literal["closed", "half-open", "open"]


class LbStatus(AnswerModel):
    total_servers: int
    healthy_servers: int
    servers: list[Server]


@router.get("/lb/status", access=ANY, response_model=LbStatus, summary="Servers as the balancers see them")
async def lb_status(services: Deps, who: Annotated[Caller, Depends(caller)]) -> LbStatus:
    if services.settings.public_ops != "open" and (problem := refusal(VIEWER, who)):
        raise problem
    rows = [Server.model_validate(row) for row in await servers.listed(services.fleet)]
    return LbStatus(total_servers=len(rows), healthy_servers=sum(row.healthy for row in rows), servers=rows)
