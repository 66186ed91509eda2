"""A request explained by gateway and balancer together."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from services.cli import fleet
from services.cli.commands import explain_request
from services.cli.errors import DONE, FAILED, USAGE, CliError
from services.cli.output import Format
from services.core.credentials import ID_LENGTH, SECRET_BYTES, make_key
from tests.unit.cli.commands.test_status import running, stored

GATEWAY = {
    "request": {"route": "/api/v1/status", "cost": 1},
    "identity": {"identifier": "ip:127.0.0.1", "tier": "anonymous", "scopes": ["read"]},
    "policies": [
        {"name": "anonymous", "quota": 100, "window": 60, "remaining": 0, "retryAfter": 12, "verdict": "reject"}
    ],
    "tiers": {"revision": 1},
    "verdict": {"outcome": "admit"},
    "answeredBy": "gateway-1",
}
BALANCER = {
    "upstream": {"endpoints": [{"id": "api-1", "state": "healthy", "breaker": "open"}]},
    "verdict": {"outcome": "reject", "stage": "pick", "status": 503},
    "answeredBy": ["balancer-1"],
}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    bodies: list[dict[str, Any]] = []

    async def explain(_instance: object, component: str, body: dict[str, Any]) -> dict[str, Any]:
        bodies.append(body)
        return GATEWAY if component == "gateway" else BALANCER

    running(tmp_path, stored(), monkeypatch)
    monkeypatch.setattr(fleet, "explain", explain)
    return bodies


def test_the_first_refusal_on_the_way_counts(asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """Both parts are merged; what the gateway admits the balancer may still refuse: exit 1."""
    assert explain_request.run(Format.table, "get", "/api/v1/status", ip="1.2.3.4", cost=2) == FAILED
    assert asked == [{"method": "GET", "path": "/api/v1/status", "ip": "1.2.3.4", "cost": 2}] * 2
    shown = capsys.readouterr().out
    for part in (
        "ip:127.0.0.1",
        "anonymous",
        "api-1",
        "open",
        "reject  stage pick  status 503",
        "gateway-1, balancer-1",
    ):
        assert part in shown


def test_admitted_is_exit_0(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody refuses: exit 0; -o json holds the answer of contract.md §1.6."""
    monkeypatch.setitem(BALANCER, "verdict", {"outcome": "admit"})
    assert explain_request.run(Format.json, "GET", "/") == DONE
    assert json.loads(capsys.readouterr().out)["data"]["upstream"]["endpoints"][0]["id"] == "api-1"
    assert len(asked) == 2


def test_a_key_comes_from_stdin_alone(asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """--key-stdin sends the key's public id, not the key; what is no key is wrong usage."""
    key = make_key("test", bytes(range(ID_LENGTH)), bytes(range(SECRET_BYTES)))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(key.encode() + b"\n")))
    explain_request.run(Format.json, "GET", "/", key_stdin=True)
    assert asked[0]["apiKeyId"] == key.split("_")[2]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"nonsense\n")))
    with pytest.raises(CliError) as failed:
        explain_request.run(Format.json, "GET", "/", key_stdin=True)
    assert failed.value.exit_code == USAGE
