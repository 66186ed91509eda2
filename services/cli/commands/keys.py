"""`scalable-api keys create|list|rotate|revoke`, through the api as the oldest admin. A new key goes to stdout
alone.
"""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

from services.cli.api_client import ApiClient, Through
from services.cli.errors import DONE, NOT_FOUND, CliError
from services.cli.output import Format, clean, emit, say, table, tell

ROUTE = "/api/v1/keys"
PAGE = 100


def create(
    ask: Through, form: Format, *, name: str, tier: str | None, scopes: list[str], expires_days: int | None
) -> int:
    body: dict[str, Any] = {"name": name, "scopes": scopes, "expiresInDays": expires_days}
    if tier is not None:
        body["tier"] = tier
    made = ask(lambda api: api.call("POST", ROUTE, body))
    return _told(form, made, f"created {made['apiKey']['prefix']}, tier {made['apiKey']['tier']}")


def rotate(ask: Through, form: Format, key: str, *, grace_s: int) -> int:
    made = ask(lambda api: called(api, "POST", key, "/rotate", {"graceSeconds": grace_s}))
    old = made["replaces"]
    return _told(form, made, f"{old['id']} works until {old['expiresAt']}; the new key is {made['apiKey']['prefix']}")


def _told(form: Format, made: dict[str, Any], sentence: str) -> int:
    """The secret on stdout, so that it can be piped; the sentence beside it."""
    if form in (Format.json, Format.yaml):
        emit(form, "KeyReport", made)
    else:
        tell(clean(sentence))
        say(clean(made["key"]))
    return DONE


def revoke(ask: Through, key: str, reason: str | None) -> int:
    ask(lambda api: called(api, "DELETE", key, reason=reason))
    tell(f"revoked {clean(key)}")
    return DONE


def listing(ask: Through, form: Format, *, status: str | None, tier: str | None) -> int:
    async def pages(api: ApiClient) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page = 1
        while True:
            answer = await api.call("GET", ROUTE, page=page, limit=PAGE, status=status, tier=tier)
            found += answer["keys"]
            if not answer["pagination"]["hasMore"]:
                return found
            page += 1

    found = ask(pages)
    if form in (Format.json, Format.yaml):
        emit(form, "KeyList", {"keys": found})
    elif form is Format.name:
        say(*(clean(k["id"]) for k in found))
    else:
        heads = ["ID", "PREFIX", "NAME", "TIER", "SCOPES", "STATUS", "EXPIRES"]
        rows = [
            [k["id"], k["prefix"], k["name"], k["tier"], ",".join(k["scopes"]), k["status"], k["expiresAt"] or "never"]
            for k in found
        ]
        say(*table(heads, rows))
    return DONE


async def called(api: ApiClient, method: str, key: str, verb: str = "", body: Any = None, **query: Any) -> Any:
    """The answer; a key that is not there is looked for in the list."""
    try:
        return await api.call(method, f"{ROUTE}/{_id(key)}{verb}", body, **query)
    except CliError as error:
        if error.exit_code == NOT_FOUND:
            error.next_step = "scalable-api keys list"
        raise


def _id(key: str) -> str:
    """An id as listed, or the prefix `sk_live_<id>` as logs show it."""
    for prefix in ("sk_live_", "sk_test_"):
        if key.startswith(prefix):
            return quote(key.removeprefix(prefix).split("_", 1)[0], safe="")
    return quote(key, safe="")


def fresh_name() -> str:
    return f"cli-{uuid.uuid4().hex[:6]}"
