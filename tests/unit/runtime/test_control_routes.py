"""A component's own routes: served, and refusing what is not theirs in the control port's words."""

from __future__ import annotations

import subprocess
import sys

import httpx
from fastapi import APIRouter

from services.runtime.control import DrainRequest
from services.runtime.control_routes import routed


async def test_a_wrong_body_is_told_as_errors() -> None:
    """422, each field by its name; nothing but the routes is there."""
    router = APIRouter(prefix="/control/v1")

    @router.post("/quiet")
    async def quiet(body: DrainRequest) -> dict[str, bool]:
        return {"on": body.on}

    transport = httpx.ASGITransport(routed([router]))
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as http:
        assert (await http.post("/control/v1/quiet", json={"on": True})).json() == {"on": True}
        refused = await http.post("/control/v1/quiet", json={"on": True, "timeoutSeconds": 0})
        assert (refused.status_code, len(refused.json()["errors"])) == (422, 1)
        assert refused.json()["errors"][0].startswith("timeoutSeconds: ")
        assert (await http.get("/openapi.json")).status_code == 404


def test_the_operator_does_without_fastapi() -> None:
    """It has no routes of its own: ten megabytes less."""
    line = "import sys, scalable_operator.main; print('fastapi' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
