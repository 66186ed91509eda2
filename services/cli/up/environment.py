"""The environment of each process: only what its component needs, secrets included.

Gateway: control token, identity secrets, peppers, role scalable_gateway. Balancer: the control token. Api: as the
gateway, role scalable_app. What the user set in the environment (CACHE_TTL, PG_POOL_MAX, …) reaches the components
that know it. Used by `up` and by the tests' fleet.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from services.cli.instance import write_private
from services.runtime.settings import KNOWN, PROCESSES, is_loopback

COMPONENTS: Final = ("api", "balancer", "gateway")  # the order in which they become ready
DRAIN_DELAY_S: Final = 0.5  # the callers' endpoint files are looked at every 0.2 s


@dataclass(frozen=True, slots=True)
class Secrets:
    """Random, made once per data folder."""

    control_token: str
    identity_secrets: str
    api_key_peppers: str


def secrets_of(path: Path) -> Secrets:
    """Those of an earlier start, else new ones, written 0600."""
    if path.exists():
        return Secrets(**json.loads(path.read_text()))
    made = fresh_secrets()
    write_private(path, json.dumps(asdict(made)) + "\n")
    return made


def fresh_secrets() -> Secrets:
    return Secrets(secrets.token_urlsafe(32), _base64(), f"1:{_base64()}")


def _base64() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True, slots=True)
class Plan:
    """What the environments are made of."""

    host: str
    port: int
    app_dsn: str
    gateway_dsn: str
    redis_url: str
    state: Path
    tiers_file: Path
    secrets: Secrets
    demo: bool
    log_level: str = "info"
    drain_seconds: int = 10


def environment(component: str, plan: Plan, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """All of it but INSTANCE_ID and SUPERVISOR_FD, which the launcher adds."""
    ours = {**_common(plan), **_OWN[component](plan), **(extra or {})}
    return {**allocator(), **inherited(component, os.environ), **ours}


def allocator() -> dict[str, str]:
    """deploy/runtime.env of the checkout, or its copy in the wheel: what the images set."""
    package = Path(__file__).resolve().parents[2]
    checkout = package.parent / "deploy" / "runtime.env"
    file = checkout if checkout.is_file() else package / "_data" / "runtime.env"
    lines = file.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def inherited(component: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The user's environment without settings of other components and without spellings that would win over ours."""
    mine = {name.upper() for p in PROCESSES if p.component == component for name in p.model_fields}
    kept = {}
    for name, value in environ.items():
        bare = name.removeprefix("SCALABLE_").removesuffix("_FILE")
        if bare not in KNOWN or (bare in mine and bare not in _OURS):
            kept[name] = value
    return kept


_OURS: Final = frozenset(
    {
        *("HOST", "CONTROL_PORT", "CONTROL_TOKEN", "DEMO_MODE", "INSTANCE_ID", "SUPERVISOR_FD", "TIERS_FILE"),
        *("GATEWAY_PORT", "BALANCERS", "GATEWAY_PEERS", "LB_PORT", "API_SERVERS", "PORT", "FLEET"),
        *("REDIS_URL", "DATABASE_URL", "IDENTITY_SECRETS", "API_KEY_PEPPERS"),
    }
)


def _common(plan: Plan) -> dict[str, str]:
    loopback = is_loopback(plan.host)
    return {
        "HOST": "127.0.0.1",
        "CONTROL_PORT": "0",
        "CONTROL_TOKEN": plan.secrets.control_token,
        "DEMO_MODE": str(plan.demo).lower(),
        "PUBLIC_OPS": "open" if loopback else "auth",
        "LOG_LEVEL": plan.log_level,
        "LOG_FORMAT": "json",
        "DRAIN_DELAY_SECONDS": str(DRAIN_DELAY_S),
        "DRAIN_SECONDS": str(plan.drain_seconds),
        "PYTHONUNBUFFERED": "1",
    }


def _endpoints(plan: Plan, component: str) -> str:
    return f"file:{plan.state / 'endpoints' / component}.json"


def _gateway(plan: Plan) -> dict[str, str]:
    return {
        "HOST": plan.host,
        "GATEWAY_PORT": str(plan.port),
        "BALANCERS": _endpoints(plan, "balancer"),
        "GATEWAY_PEERS": _endpoints(plan, "gateway"),
        "TIERS_FILE": str(plan.tiers_file),
        "REDIS_URL": plan.redis_url,
        "DATABASE_URL": plan.gateway_dsn,
        "IDENTITY_SECRETS": plan.secrets.identity_secrets,
        "API_KEY_PEPPERS": plan.secrets.api_key_peppers,
    }


def _balancer(plan: Plan) -> dict[str, str]:
    return {"LB_PORT": "0", "API_SERVERS": _endpoints(plan, "api"), "TIERS_FILE": str(plan.tiers_file)}


def _api(plan: Plan) -> dict[str, str]:
    return {
        "PORT": "0",
        "REDIS_URL": plan.redis_url,
        "DATABASE_URL": plan.app_dsn,
        "IDENTITY_SECRETS": plan.secrets.identity_secrets,
        "API_KEY_PEPPERS": plan.secrets.api_key_peppers,
        "FLEET": ",".join(_endpoints(plan, component) for component in ("gateway", "balancer", "api")),
    }


_OWN: Final = {"gateway": _gateway, "balancer": _balancer, "api": _api}
