"""`scalable-api bootstrap`: the chart's hook Job makes the two Secrets of an installation, each only if it is absent.

Random, so neither the chart nor its values hold a secret; made once, so an upgrade changes nothing: without the peppers
every API key is void. That is why they outlive the release, as a volume does. The pod's ServiceAccount needs to create
Secrets, and to get these two, whose keys are looked at: one that a person made, or an older version, may lack some.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Final

import httpx

from services.cli.errors import DONE, FAILED, CliError
from services.cli.output import clean, say
from services.cli.up.environment import fresh_secrets
from services.runtime.endpoints import SourceError
from services.runtime.kube_api import Cluster, check, decoded, in_cluster

DATABASE: Final = "scalable_api"
ROLES: Final = ("owner", "app", "gateway")
WEBHOOK_BYTES: Final = 32
PASSWORD_BYTES: Final = 24
LABELS: Final = {"app.kubernetes.io/part-of": "scalable-api", "app.kubernetes.io/managed-by": "scalable-api-bootstrap"}


def run(keys: str | None, control: str | None, dev_postgres: str, dev_redis: str) -> int:
    """Names of the Secrets (None: somebody else makes it), and where the chart's development stores are."""
    made = fresh_secrets()
    wanted: dict[str, Mapping[str, str]] = {}
    if control:
        wanted[control] = {"token": made.control_token}
    if keys:
        wanted[keys] = {
            "identity-secrets": made.identity_secrets,
            "api-key-peppers": made.api_key_peppers,
            "webhook-secret": secrets.token_urlsafe(WEBHOOK_BYTES),
            "admin-password": secrets.token_urlsafe(PASSWORD_BYTES),
            **dev_stores(dev_postgres, dev_redis),
        }
    try:
        asyncio.run(make(in_cluster(), wanted))
    except (SourceError, httpx.HTTPError, OSError) as error:
        why = clean(str(error) or type(error).__name__)
        raise CliError("", "the Secrets cannot be made", why, "see the bootstrap Job's Role", FAILED) from None
    return DONE


def dev_stores(postgres: str, redis: str) -> dict[str, str]:
    """A login of each role, and the server's own administrator. A password holds nothing that a URL would escape."""
    urls = {
        f"dev-{role}-url": f"postgresql://scalable_{role}:{_password()}@{postgres}:5432/{DATABASE}" for role in ROLES
    }
    return {**urls, "dev-postgres-password": _password(), "dev-redis-url": f"redis://:{_password()}@{redis}:6379/0"}


async def make(cluster: Cluster, wanted: Mapping[str, Mapping[str, str]]) -> None:
    """Raises SourceError, OSError, httpx.HTTPError; CliError for a Secret that is there and lacks a key."""
    namespace = (cluster.account / "namespace").read_text().strip()
    async with cluster.client() as http:
        for name, data in wanted.items():
            await _make(http, f"/api/v1/namespaces/{namespace}/secrets", name, data)


async def _make(http: httpx.AsyncClient, path: str, name: str, data: Mapping[str, str]) -> None:
    metadata = {"name": name, "labels": LABELS}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": data}
    answer = await http.post(path, json=body)
    if answer.status_code == httpx.codes.CREATED:
        say(f"made Secret {name}")
        return
    if answer.status_code != httpx.codes.CONFLICT:
        check(answer)
    answer = await http.get(f"{path}/{name}")
    check(answer)
    if lacks := sorted(data.keys() - (decoded(answer.content).get("data") or {}).keys()):
        fix = "add them, or delete it to have all made anew; without its api-key-peppers every API key is void"
        raise CliError("", f"the Secret {name} lacks {', '.join(lacks)}", "it was there already", fix, FAILED)
    say(f"Secret {name} is there")


def _password() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)
