"""`scalable-api explain METHOD PATH`: what would happen to a request, as the gateway and the balancer would decide
now. It spends nothing. Both are asked on their control ports; the answer is the one of `POST ~/admin/explain`
(contract.md §1.6).
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

from services.cli import fleet
from services.cli import instance as instances
from services.cli.errors import DONE, FAILED, USAGE, CliError
from services.cli.output import ANSI_GREEN, ANSI_RED, Format, clean, emit, paint, say, table
from services.core.credentials import parse_key

HERE: Final = "127.0.0.1"  # what curl on this machine looks like


def run(
    form: Format,
    method: str,
    path: str,
    *,
    key_stdin: bool = False,
    identifier: str | None = None,
    ip: str | None = None,
    cost: int | None = None,
) -> int:
    """Exit 0 when it would be admitted, 1 when not."""
    key = _key_id() if key_stdin else None
    if key is None and identifier is None and ip is None:
        ip = HERE
    asked = {"apiKeyId": key, "identifier": identifier, "ip": ip, "cost": cost}
    body = {
        "method": method.upper(),
        "path": path,
        **{name: value for name, value in asked.items() if value is not None},
    }
    found = asyncio.run(both(body))
    if form in (Format.json, Format.yaml):
        emit(form, "ExplainReport", found)
    else:
        say(*lines(found))
    return DONE if found.get("verdict", {}).get("outcome") == "admit" else FAILED


async def both(body: dict[str, Any]) -> dict[str, Any]:
    """The gateway's part and the balancer's; the verdict is the first refusal on the way."""
    instance = instances.current()
    gateway, balancer = await asyncio.gather(
        fleet.explain(instance, "gateway", body), fleet.explain(instance, "balancer", body)
    )
    merged = {**balancer, **gateway, "upstream": balancer.get("upstream", {})}
    if gateway.get("verdict", {}).get("outcome") == "admit" and "verdict" in balancer:
        merged["verdict"] = balancer["verdict"]
    merged["answeredBy"] = [x for part in (gateway, balancer) for x in _names(part.get("answeredBy"))]
    return merged


def _names(value: Any) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list) else [str(value)] if value else []


def _key_id() -> str:
    """From stdin, never from the arguments: those are seen by everybody on the machine."""
    found = parse_key(sys.stdin.buffer.readline().strip())
    if found is None:
        raise CliError("", "stdin holds no API key", "its shape or its check digits are wrong", exit_code=USAGE)
    return found.id


def lines(found: dict[str, Any]) -> list[str]:
    """A sentence a stage, then the policies and the endpoints."""
    request, identity, verdict = (found.get(part) or {} for part in ("request", "identity", "verdict"))
    admitted = verdict.get("outcome") == "admit"
    shown = [
        *([f"request   {_pairs(request)}"] if request else []),
        *([f"identity  {_pairs(identity)}"] if identity else []),
        *([f"override  {_pairs(found['override'])}"] if found.get("override") else []),
        *_policies(found.get("policies") or []),
        *_upstream(found.get("upstream") or {}),
        f"tiers     {_pairs(found.get('tiers') or {})}",
        f"verdict   {paint('admit' if admitted else 'reject', ANSI_GREEN if admitted else ANSI_RED)}{_why(verdict)}",
    ]
    return [*shown, f"asked     {clean(', '.join(found.get('answeredBy', [])))}"]


def _pairs(part: dict[str, Any]) -> str:
    return clean("  ".join(f"{name} {_flat(value)}" for name, value in part.items() if value not in (None, "", [])))


def _flat(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _policies(policies: list[dict[str, Any]]) -> list[str]:
    names = ["name", "quota", "window", "algorithm", "mode", "estimate", "remaining", "retryAfter", "verdict"]
    rows = [["" if p.get(name) is None else p[name] for name in names] for p in policies]
    heads = ["POLICY", "QUOTA", "WINDOW", "ALGORITHM", "MODE", "ESTIMATE", "REMAINING", "RETRY AFTER", "VERDICT"]
    return [f"  {line}" for line in table(heads, rows)] if rows else []


def _upstream(upstream: dict[str, Any]) -> list[str]:
    rows = [[e.get("id"), e.get("state"), e.get("breaker")] for e in upstream.get("endpoints", [])]
    return [f"  {line}" for line in table(["ENDPOINT", "STATE", "BREAKER"], rows)] if rows else []


def _why(verdict: dict[str, Any]) -> str:
    told = _pairs({name: value for name, value in verdict.items() if name != "outcome"})
    return f"  {told}" if told else ""
