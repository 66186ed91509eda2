"""The controller's own control port (contract.md §1.11): probes, its series, and a component's windows of this second.

The token of `explain` is that of the object asked about: who may read one object's windows may not read another's.
Served by `runtime.control.ControlServer` in both homes; `ready` is the home's word.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated

from fastapi import FastAPI, Header, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from services.controller.loop import Controller
from services.runtime.control import ControlModel
from services.runtime.control_routes import QUIET


class ExplainRequest(ControlModel):
    """Whose windows; `component` absent: all of them."""

    name: str
    namespace: str = ""
    component: str | None = None


def build(controller: Controller, ready: Callable[[], bool] = lambda: True) -> FastAPI:
    """The application."""
    app = FastAPI(title="controller", docs_url=None, redoc_url=None, openapi_url=None, telemetry=QUIET)

    @app.get("/livez")
    async def livez() -> Response:
        late = controller.late()
        return PlainTextResponse("the last pass is too long ago" if late else "ok", 503 if late else 200)

    @app.get("/readyz")
    async def readyz() -> Response:
        return PlainTextResponse("ok" if ready() else "not ready", 200 if ready() else 503)

    @app.get("/metrics")
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        body, kind = controller.meters.metrics.render(accept)
        return Response(body, headers={"content-type": kind})

    @app.post("/control/v1/explain")
    async def explain(body: ExplainRequest, authorization: Annotated[str, Header()] = "") -> Response:
        token = await controller.token(body.namespace, body.name)
        if not token or not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            return JSONResponse({"errors": ["the control token of this object is missing or wrong"]}, 401)
        found = controller.explain(body.namespace, body.name)
        if body.component is not None and body.component not in found:
            return JSONResponse({"errors": [f"nothing is decided for {body.component}"]}, 404)
        return JSONResponse({"components": {n: d for n, d in found.items() if body.component in (None, n)}})

    return app
