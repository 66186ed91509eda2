"""The platform as its own client: every process ready, the tiers enforced by all, a request through gateway, balancer and
api, and a limiter that counts it.

Nothing is asked of Kubernetes, so a pod without any right can run it (`check --in-cluster`, the charts' `helm test`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import httpx

from services.cli import fleet
from services.cli.checks.finding import Finding, Mark
from services.cli.fleet import PATH_ORDER, Process
from services.runtime.discovery import make_source
from services.runtime.endpoints import authority, merged
from services.runtime.http_client import client
from services.schema.snapshot import Snapshot

PATH: Final = "/api/v1/status"
"""Public, cheap, limited, answered by an api."""
REQUESTS: Final = 2
"""The limiter's number is seen to go down."""
TIMEOUT_S: Final = 5.0
REFUSED_US: Final = "CONTROL_TOKEN must be the one that the processes have"
SOME: Final = 3
LISTENING: Final = "is its pod up, and may this one reach port control (NetworkPolicy)?"


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one request through the gateway; `error` instead if there was none."""

    status: int = 0
    served_by: str = ""
    limit: int | None = None
    remaining: int | None = None
    degraded: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """By one look."""

    processes: Sequence[Process]
    answers: Sequence[Answer]


async def look(gateway_url: str, processes: Sequence[Process], token: str) -> Seen:
    return Seen(await fleet.asked(processes, token), await _requests(gateway_url))


async def discovered(texts: Sequence[str]) -> list[Process]:
    """FLEET's control ports; what runs there is known when it has answered. A source that names nobody keeps its row."""
    sources = [make_source(text) for text in texts]
    await asyncio.gather(*(source.first() for source in sources))
    found = [
        Process("", one.id, one.control_url or f"http://{authority(one.host, one.port)}")
        for one in merged(s.found for s in sources)
    ]
    return [*found, *(Process("", s.text, "", None, "names no process") for s in sources if not s.found)]


async def _requests(gateway_url: str) -> list[Answer]:
    """One after the other, so that they are counted in their order."""
    async with client(timeout_s=TIMEOUT_S, base_url=gateway_url) as http:
        return [await _request(http) for _ in range(REQUESTS)]


async def _request(http: httpx.AsyncClient) -> Answer:
    try:
        found = await http.get(PATH)
    except httpx.HTTPError as error:
        return Answer(error=str(error) or type(error).__name__)
    head = found.headers
    limit, remaining = (_number(head.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining"))
    degraded = head.get("ratelimit-degraded") == "?1"
    return Answer(found.status_code, head.get("x-served-by", ""), limit, remaining, degraded)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def judged(seen: Seen, gateway_url: str) -> list[Finding]:
    """In the order of a request's life."""
    snapshots = [process.snapshot for process in seen.processes if process.snapshot]
    return [
        *_components(seen.processes, snapshots),
        *_tiers(snapshots),
        _request_passes(seen, gateway_url, {s.instance for s in snapshots if s.component == "api"}),
        _counts(seen.answers),
    ]


def _components(processes: Sequence[Process], snapshots: Sequence[Snapshot]) -> Iterator[Finding]:
    """Each of the path with its count; who does not answer, together for one reason."""
    for name in PATH_ORDER if snapshots else ():
        found = [s for s in snapshots if s.component == name]
        ready = [s for s in found if s.ready and not s.draining]
        waiting = ", ".join(s.instance for s in found if s not in ready)
        mark = Mark.bad if not ready else Mark.look if waiting else Mark.good
        fix = f"see the log of {waiting}" if waiting else "" if ready else "does it run, and is it in FLEET?"
        yield Finding("Components", name, mark, f"{len(ready)} of {len(found)} ready", fix)
    silent = [process for process in processes if process.snapshot is None]
    for error in dict.fromkeys(process.error for process in silent):
        alike = [process for process in silent if process.error == error]
        fix = (
            REFUSED_US if alike[0].refused else LISTENING if alike[0].url else "is the name right, and is a pod there?"
        )
        names = ", ".join(process.id for process in alike[:SOME]) + (" …" if alike[SOME:] else "")
        yield Finding("Components", f"{len(alike)} silent", Mark.bad, f"{names}: {error}", fix)
    if len(versions := sorted({s.version for s in snapshots})) > 1:
        fix = "let the rollout end, or use one version for all"
        yield Finding("Components", "versions", Mark.look, ", ".join(versions), fix)


def _tiers(snapshots: Sequence[Snapshot]) -> Iterator[Finding]:
    """Every gateway and balancer the same document."""
    limiting = [s for s in snapshots if s.component in ("gateway", "balancer")]
    revisions = {s.tier.hash: s.tier.revision for s in limiting if s.tier}
    newest = max(revisions, key=lambda known: revisions[known], default="")
    behind = [s.instance for s in limiting if s.tier is None or s.tier.hash != newest]
    text = f"revision {revisions.get(newest, 0)} enforced by {len(limiting) - len(behind)} of {len(limiting)}"
    if behind:
        fix = f"a canary or a rollout may be under way (scalable-api tiers); behind: {', '.join(behind)}"
        yield Finding("Tiers", "document", Mark.bad, text, fix)
    elif limiting and revisions[newest] == 0:
        fix = "kubectl get scalableapi: is there one, and does an operator watch its namespace?"
        yield Finding("Tiers", "document", Mark.look, f"{text}: the built-in one, none was given", fix)
    elif limiting:
        yield Finding("Tiers", "document", Mark.good, text)


def _request_passes(seen: Seen, url: str, apis: set[str]) -> Finding:
    answer = seen.answers[0]

    def finding(mark: Mark, text: str, fix: str = "") -> Finding:
        return Finding("Requests", "chain", mark, text, fix)

    if answer.error:
        return finding(Mark.bad, f"{url} does not answer: {answer.error}", "is GATEWAY_URL the gateway's Service?")
    if answer.status != httpx.codes.OK:
        who = answer.served_by or "nobody"
        return finding(Mark.bad, f"GET {PATH}: {answer.status} by {who}", f"see the log of {who}")
    if apis and answer.served_by not in apis:
        text = f"answered by {answer.served_by or 'nobody by name'}, which is none of the apis above"
        return finding(Mark.bad, text, "GATEWAY_URL and FLEET must name one release")
    return finding(Mark.good, f"GET {PATH} answered by {answer.served_by}")


def _counts(answers: Sequence[Answer]) -> Finding:
    def finding(mark: Mark, text: str, fix: str = "") -> Finding:
        return Finding("Requests", "limiter", mark, text, fix)

    first, last = answers[0], answers[-1]
    if first.limit is None or first.remaining is None or last.remaining is None:
        return finding(Mark.bad, "no limit is told", "LIMITER_ENABLED of the gateway, and its answer above")
    text = f"{first.remaining} then {last.remaining} of {first.limit} left"
    if last.remaining >= first.remaining > 0:
        return finding(Mark.bad, text, "LIMITER_ENABLED of the gateway, and its connection to Redis")
    if first.degraded or last.degraded:
        return finding(Mark.look, f"{text}, counted by each gateway for itself", "the gateways' connection to Redis")
    return finding(Mark.good, text)
