"""What is made of what was seen; looking itself: tests/integration/test_up.py and tests/cluster/test_cli_fleet.py."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from services.cli.checks.chain import Answer, Seen, discovered, judged, look
from services.cli.checks.finding import Finding, Mark, bad
from services.cli.fleet import Process
from services.schema.snapshot import Latency, Snapshot, TierState

TIER = TierState(4, "sha256:a")
ANSWERS = (Answer(200, "api-1", 100, 99), Answer(200, "api-1", 100, 98))


def snapshot(component: str, number: int = 1, tier: TierState | None = TIER) -> Snapshot:
    return Snapshot(
        component=component, instance=f"{component}-{number}", version="1", started_at="", at="", seq=1, ready=True,
        draining=False, in_flight=0, requests=0, rps=0, error_rate=0, latency=Latency(), loop_lag_ms=0, cpu=0,
        rss_bytes=0, tasks=0, tier=tier,
    )  # fmt: skip


def process(found: Snapshot) -> Process:
    return Process("", found.instance, "http://127.0.0.1:1", found)


WELL = [process(snapshot("gateway")), process(snapshot("balancer")), process(snapshot("api", tier=None))]


def found(processes: list[Process] = WELL, answers: tuple[Answer, ...] = ANSWERS) -> dict[str, Finding]:
    return {finding.subject: finding for finding in judged(Seen(processes, answers), "http://gateway")}


def changed(number: int, **over: object) -> list[Process]:
    snapshot = WELL[number].snapshot
    assert snapshot is not None
    return [*WELL[:number], process(msgspec.structs.replace(snapshot, **over)), *WELL[number + 1 :]]


def test_all_well() -> None:
    """Every component, the document, the request, the limiter."""
    seen = found()
    assert {finding.mark for finding in seen.values()} == {Mark.good}
    assert list(seen) == ["gateway", "balancer", "api", "document", "chain", "limiter"]
    assert seen["document"].text == "revision 4 enforced by 2 of 2"
    assert seen["limiter"].text == "99 then 98 of 100 left"


@pytest.mark.parametrize("over", [{"ready": False}, {"draining": True}])
def test_a_component_without_a_ready_process(over: dict[str, bool]) -> None:
    """Bad with its log named; with another one ready it is worth a look."""
    seen = found(changed(2, **over))["api"]
    assert (seen.mark, seen.text, seen.fix) == (Mark.bad, "0 of 1 ready", "see the log of api-1")
    assert found([*changed(2, **over), process(snapshot("api", 2, None))])["api"].mark is Mark.look
    assert found(WELL[:2], (replace(ANSWERS[0], served_by="x"), ANSWERS[1]))["api"].text == "0 of 0 ready"


def test_the_silent_are_told_together() -> None:
    """By their reason; when all are silent nothing is said of what they would have told."""
    refused = [Process("", f"p{n}", "http://x", None, "wrong token", refused=True) for n in range(5)]
    seen = found([*refused, Process("", "dns:x:1", "", None, "names no process")])
    assert list(seen) == ["5 silent", "1 silent", "chain", "limiter"]
    assert seen["5 silent"].text == "p0, p1, p2 …: wrong token"
    assert "CONTROL_TOKEN" in seen["5 silent"].fix
    assert "name" in seen["1 silent"].fix
    assert (seen["chain"].mark, len(bad(list(seen.values())))) == (Mark.good, 2)


def test_tiers() -> None:
    """An older document somewhere is bad and names who has it; the built-in one is worth a look."""
    behind = found(changed(1, tier=TierState(3, "sha256:b")))["document"]
    assert (behind.mark, behind.text) == (Mark.bad, "revision 4 enforced by 1 of 2")
    assert "balancer-1" in behind.fix
    none = [process(snapshot(c, tier=TierState(0, "sha256:0"))) for c in ("gateway", "balancer")]
    assert found(none)["document"].mark is Mark.look


def test_versions_differ() -> None:
    """Worth a look: a rollout is under way."""
    assert found(changed(0, version="2"))["versions"].text == "1, 2"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(error="refused"), "http://gateway does not answer: refused"),
        (Answer(503, "gateway-1"), "503 by gateway-1"),
        (Answer(200, "api-9", 100, 99), "none of the apis above"),
        (Answer(200, "", 100, 99), "nobody by name"),
    ],
)
def test_a_request_that_does_not_pass(answer: Answer, told: str) -> None:
    """Who did not answer, refused, or was somebody else's."""
    seen = found(answers=(answer, ANSWERS[1]))["chain"]
    assert (seen.mark, told in seen.text, seen.fix != "") == (Mark.bad, True, True)


@pytest.mark.parametrize(
    ("first", "second", "mark"),
    [
        (Answer(200, "api-1"), ANSWERS[1], Mark.bad),
        (Answer(200, "api-1", 100, 98), ANSWERS[1], Mark.bad),
        (Answer(429, "gateway-1", 100, 0), Answer(429, "gateway-1", 100, 0), Mark.good),
        (replace(ANSWERS[0], degraded=True), ANSWERS[1], Mark.look),
    ],
)
def test_the_limiter(first: Answer, second: Answer, mark: Mark) -> None:
    """No limit, or one that does not go down, is bad; used up is counted; without its store is worth a look."""
    assert found(answers=(first, second))["limiter"].mark is mark


async def test_nobody_there() -> None:
    """A source that names nobody keeps its row; a port without a listener is silent, a gateway without one has no answer."""
    processes = await discovered(["http://127.0.0.1:9", "file:/nowhere"])
    assert [(p.id, p.url, p.error) for p in processes] == [
        ("127.0.0.1:9", "http://127.0.0.1:9", ""),
        ("file:/nowhere", "", "names no process"),
    ]
    seen = await look("http://127.0.0.1:9", processes, "x")
    assert all(p.error for p in seen.processes)
    assert [bool(answer.error) for answer in seen.answers] == [True, True]
