"""A component's own routes of the control port, by FastAPI: imported where a component has any.

The operator has none, and FastAPI is ten megabytes. Callers: runtime.control, which serves them under its guard; the
apps that are FastAPI's themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig

# fastapi's own telemetry is on by default: our series and logs are enough
QUIET: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def routed(routers: Sequence[APIRouter]) -> FastAPI:
    """Their application."""
    app = FastAPI(title="control", docs_url=None, redoc_url=None, openapi_url=None, telemetry=QUIET)
    app.add_exception_handler(RequestValidationError, _invalid)
    for router in routers:
        app.include_router(router)
    return app


async def _invalid(_request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    texts = [f"{'.'.join(str(part) for part in item['loc'][1:])}: {item['msg']}" for item in found]
    return JSONResponse({"errors": texts}, 422)
