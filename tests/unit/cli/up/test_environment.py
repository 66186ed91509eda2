"""The environment of each process."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.cli.up import environment as environments
from services.cli.up.environment import Plan, allocator, environment, inherited, secrets_of
from services.runtime.settings import ApiSettings, BalancerSettings, GatewaySettings, Settings, load


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    made = secrets_of(tmp_path / "secrets.json")
    dsns = ("postgresql://scalable_app:p@/db?host=/s", "postgresql://scalable_gateway:q@/db?host=/s")
    return Plan("127.0.0.1", 8080, *dsns, "unix:///s/v.sock", tmp_path, tmp_path / "tiers.yaml", made, demo=True)


@pytest.mark.parametrize("kind", [GatewaySettings, BalancerSettings, ApiSettings])
def test_each_process_takes_its_environment(kind: type[Settings], plan: Plan) -> None:
    """What is built is exactly what the process's settings accept."""
    found = load(kind, environment(kind.component, plan) | {"INSTANCE_ID": f"{kind.component}-1"})
    assert (found.control_port, found.demo_mode, found.instance_id) == (0, True, f"{kind.component}-1")


def test_every_process_has_the_images_allocator(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """glibc trims its heap as rarely here as in an image; what the user sets wins."""
    monkeypatch.setenv("MALLOC_ARENA_MAX", "8")
    made = environment("balancer", plan)
    assert made["MALLOC_TRIM_THRESHOLD_"] == allocator()["MALLOC_TRIM_THRESHOLD_"] == str(64 << 20)
    assert made["MALLOC_ARENA_MAX"] == "8"


def test_secrets_reach_only_who_needs_them(plan: Plan) -> None:
    """The balancer has no store and no identity secret; the gateway has its own role; nobody has the owner's."""
    balancer, gateway, api = (environment(c, plan) for c in ("balancer", "gateway", "api"))
    assert not {"REDIS_URL", "DATABASE_URL", "IDENTITY_SECRETS", "API_KEY_PEPPERS"} & balancer.keys()
    assert "scalable_gateway" in gateway["DATABASE_URL"]
    assert "scalable_app" in api["DATABASE_URL"]
    assert gateway["IDENTITY_SECRETS"] == api["IDENTITY_SECRETS"]


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    """A second start on the folder has the same secrets; the file is its owner's alone."""
    first = secrets_of(tmp_path / "s.json")
    assert secrets_of(tmp_path / "s.json") == first
    assert stat.S_IMODE((tmp_path / "s.json").stat().st_mode) == 0o600
    assert secrets_of(tmp_path / "t.json") != first


def test_the_users_settings_reach_whom_they_concern(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting of the api reaches the api only; one of ours cannot be overridden by another spelling; the rest
    passes.
    """
    user = {"CACHE_TTL": "5", "SCALABLE_PORT": "99", "CONTROL_TOKEN_FILE": "/x", "PATH": "/bin", "PORT": "80"}
    assert inherited("api", user) == {"CACHE_TTL": "5", "PATH": "/bin"}
    assert inherited("balancer", user) == {"PATH": "/bin"}
    monkeypatch.setenv("PORT", "80")
    assert environment("api", plan)["PORT"] == "0"
    assert environment("api", plan, {"LOG_LEVEL": "debug"})["LOG_LEVEL"] == "debug"


def test_internal_processes_stay_on_loopback(plan: Plan) -> None:
    """Only the gateway listens where the user asked; /metrics is open on loopback alone."""
    from dataclasses import replace

    wide = replace(plan, host="0.0.0.0", demo=False)  # the case under test
    assert environment("gateway", wide)["HOST"] == "0.0.0.0"
    assert environment("api", wide)["HOST"] == "127.0.0.1"
    assert environment("api", wide)["PUBLIC_OPS"] == "auth"
    assert environments.COMPONENTS == ("api", "balancer", "gateway")
