"""The OpenAPI document against the running api: exact, complete, and what the gateway's route table is made of."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.api.openapi import whole_document
from services.core.problems import PROBLEMS
from services.core.routes import ROUTES
from tests.generators import render_routes
from tests.harness.fleet import Fleet
from tests.harness.stores import Database, ValkeyServer
from tests.integration.api_process import ADMIN_SESSION, Api
from tests.integration.signed import headers

# the demo dependency fails one call in ten, by design
DEMO_FAILS = """
[[operations]]
include-path = "/api/v1/external"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "502", "503"]
"""
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def api(database: Database, valkey: ValkeyServer) -> AsyncIterator[Api]:
    async with Api.open(database, valkey) as api:
        yield api


@pytest.mark.timeout(300)
async def test_schemathesis_finds_nothing(database: Database, valkey: ValkeyServer, tmp_path: Path) -> None:
    """Thousands of valid and invalid requests against a real api with its fleet: every status, type, header and body
    is as documented.
    """
    ops = {"api": {"PUBLIC_OPS": "open"}}
    async with Fleet(database, valkey, gateways=1, balancers=1, apis=1, env=ops) as fleet:
        who = headers(fleet, replace(ADMIN_SESSION, exp=int(time.time()) + 3600))["X-Gateway-Identity"]
        # ignored_auth takes credentials away that only the gateway reads; positive_data_acceptance: see the hooks
        (tmp_path / "schemathesis.toml").write_text(DEMO_FAILS)
        left_out = "ignored_auth,positive_data_acceptance"
        line = ["run", f"{fleet.api_nodes[0].url}/api/openapi.json", "-H", f"X-Gateway-Identity: {who}"]
        line += ["--exclude-checks", left_out, "--continue-on-failure", "--max-examples", "10", "--no-color"]
        line += ["--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--warnings", "off"]
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "schemathesis"),
            *line,
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.integration.schemathesis_hooks", "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
    text = out.decode()
    assert process.returncode == 0, re.sub(r"X-Gateway-Identity: [^']*", "X-Gateway-Identity: …", text)[-20_000:]
    assert int(re.findall(r"(\d+) generated", text)[0]) > 1000


async def test_document(api: Api) -> None:
    """OpenAPI 3.1, cacheable, with an ETag; the same as the generators read; HEAD and 304 work."""
    answer = await api.get("/api/openapi.json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.json()["openapi"] == "3.1.0"
    assert answer.json()["paths"] == whole_document()["paths"]
    again = await api.get("/api/openapi.json", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_served_is_documented_is_labelled(api: Api) -> None:
    """Routes served = documented = templates of core/routes.py."""
    served: dict[str, set[str]] = {}
    for route in api.service.app.router.routes:
        served.setdefault(route.path, set()).update(m.lower() for m in route.methods)  # type: ignore[attr-defined]
    documented = {path: set(item) for path, item in whole_document()["paths"].items()}
    assert served == documented
    assert {r.template for r in ROUTES} == set(documented)
    assert (ROOT / "services/core/routes.py").read_text() == render_routes(whole_document())


async def test_docs_page(database: Database, valkey: ValkeyServer) -> None:
    """One HTML page without anything from elsewhere; with API_DOCS=false neither it nor the document is there."""
    async with Api.open(database, valkey) as api:
        page = await api.get("/api/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "/api/v1/resources/{id}" in page.text
        assert not re.search(r"<script|<link|https?://(?!scalableapi\.io)|@import|url\(", page.text)
    async with Api.open(database, valkey, api_docs="false") as api:
        assert [(await api.get(p)).status_code for p in ("/api/docs", "/api/openapi.json")] == [404, 404]


async def test_problem_types(api: Api) -> None:
    """Each type a client can be told has a page, as HTML for browsers and JSON for others; unknown ones are 404."""
    for slug, problem in PROBLEMS.items():
        found = await api.get(f"/problems/{slug}")
        assert found.json()["status"] == problem.status
        assert found.json()["remedy"]
        assert found.headers["cache-control"] == "public, max-age=86400"
    accept = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
    html = await api.get("/problems/conflict", headers=accept)
    assert html.headers["content-type"].startswith("text/html")
    assert "CONFLICT" in html.text
    assert (await api.get("/problems/nothing")).status_code == 404


async def test_public_routes(api: Api) -> None:
    """version, info, status and me say what contract.md 1.1 lists, no more."""
    version = await api.get("/api/version")
    assert version.json() == {"current": "v1", "supported": ["v1"], "deprecated": []}
    assert version.headers["cache-control"] == "public, max-age=300"
    info = (await api.get("/api/v1/info")).json()
    assert (
        info | {"instanceId": "api-1", "features": ["caching", "rate-limiting", "circuit-breaker"], "demo": True}
        == info
    )
    assert set(info) == {"version", "instanceId", "timestamp", "features", "demo"}
    status = (await api.get("/api/v1/status")).json()
    assert (status["user"], set(status)) == (None, {"status", "version", "instanceId", "timestamp", "user"})
    status = (await api.get("/api/v1/status", ADMIN_SESSION)).json()
    assert status["user"]["email"] == "admin@example.com"
    limit = {"allowed": True, "remaining": 9, "resetAt": "2026-11-24T10:00:00.000Z", "limit": 10, "policies": []}
    told = {"X-Gateway-RateLimit": json.dumps(limit)}
    me = (await api.get("/api/v1/me", ADMIN_SESSION, headers=told)).json()
    assert set(me) == {"user", "scopes", "via", "rateLimit", "servedBy"}
    assert (me["rateLimit"], me["via"]) == (limit, "bearer")
    by_cookie = (await api.get("/api/v1/me", replace(ADMIN_SESSION, via="cookie"))).json()
    assert len(by_cookie["csrfToken"]) >= 20
    assert (await api.get("/api/v1/me")).status_code == 401
