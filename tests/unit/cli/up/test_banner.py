"""The banner."""

from __future__ import annotations

from dataclasses import replace

from services.cli.up.banner import Facts, event_line, lines

FACTS = Facts(
    url="http://localhost:8080",
    data="/tmp/x",
    temporary=True,
    stores="postgres 18.6 0.8 s   valkey 9.1 0.2 s",
    schema="schema 9 migrations",
    processes={"api": 2, "balancer": 1, "gateway": 1},
    seconds=3.14,
    demo=True,
    manifest="/tmp/x/scalableapi.yaml",
    notes=("port 8080 is nginx's (pid 812)",),
)


def test_it_names_what_one_needs() -> None:
    """Where the API is, how to log in, what to watch, where logs are, what the demo will do, how to stop."""
    shown = "\n".join(lines(FACTS))
    for part in (
        "http://localhost:8080/api/v1/status",
        "admin123",
        "top · status",
        "/tmp/x/logs/",
        "api x2",
        "3.1 s",
        "nginx",
    ):
        assert part in shown
    assert "rush, slow upstream, crash, recovery, stampede" in shown
    assert shown.endswith("Ctrl-C stops everything.")


def test_without_demo_no_demo_password() -> None:
    """The demo's log-in is shown only where it works."""
    shown = "\n".join(lines(replace(FACTS, demo=False, temporary=False)))
    assert "admin123" not in shown
    assert "Demo" not in shown
    assert "(kept)" in shown


def test_events_are_one_harmless_line() -> None:
    """An event is one line whatever its message holds."""
    assert event_line("10:00:02", "ScaledUp", "api 2→3\n\x1b[2J") == "10:00:02  ScaledUp      api 2→3\\x0a\\x1b[2J"
