from __future__ import annotations

import contextlib
import json
import logging
import os
import threading

import pytest
import structlog

from services.runtime import log as logs
from services.runtime.settings import BalancerSettings, load
from tests.unit.runtime.test_settings import BALANCER


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(fd)


@pytest.fixture(autouse=True)
def restore():
    before = (logging.getLogger().handlers[:], logging.getLogger().level)
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:], logging.getLogger().level = before


def settings(**more: str) -> BalancerSettings:
    return load(BalancerSettings, BALANCER | {"INSTANCE_ID": "b-1", "LOG_FORMAT": "json"} | more)


def test_a_line_is_json_with_who_and_when(pipe):
    """Each line: level, time, component, instance, message, fields."""
    reader, fd = pipe
    writer = logs.configure(settings(), fd)
    logs.get_log("x").warning("opened", endpoint="api-1")
    writer.close()
    line = json.loads(os.read(reader, 65536))
    assert line["message"] == "opened"
    assert (line["level"], line["component"], line["instance"]) == ("warning", "balancer", "b-1")
    assert line["endpoint"] == "api-1"
    assert line["timestamp"].endswith("Z")


def test_library_logs_take_the_same_way(pipe):
    """What uvicorn or redis log comes out as our lines, with its exception."""
    reader, fd = pipe
    writer = logs.configure(settings(), fd)
    try:
        raise RuntimeError("boom")  # noqa: TRY301  # the fault itself
    except RuntimeError:
        logging.getLogger("some.library").exception("failed for %s", "sk_live_0123456789_secretsecret")
    writer.close()
    line = json.loads(os.read(reader, 65536))
    assert line["message"] == "failed for sk_live_0123456789***"
    assert "boom" in line["exception"]


@pytest.mark.parametrize(
    "text",
    [
        "sk_live_0123456789_CANARYCANARY",
        "sk_test_0123456789_CANARY",
        "ses_CANARYCANARYCANARY",
        "Authorization: Bearer CANARY.CANARY",
        "redis://user:CANARY@host/0",
        "postgresql://u:CANARY@h/db",
    ],
)
def test_secrets_are_removed_by_shape(text):
    """Keys, tokens and URL passwords never reach a line, wherever they stand."""
    assert "CANARY" not in logs.scrub(f"before {text} after")
    assert "after" in logs.scrub(f"before {text} after")


def test_secrets_are_removed_by_name():
    """Fields with secret names are masked, nested ones too; others are kept."""
    event = {"password": "CANARY", "headers": {"X-API-Key": "CANARY", "accept": "a"}, "list": [{"Cookie": "CANARY"}]}
    cleaned = logs.redact(None, "info", dict(event))
    assert "CANARY" not in repr(cleaned)
    assert cleaned["headers"]["accept"] == "a"


def test_fields_are_cut():
    """A field holds 1 KiB, an exception more, numbers stay numbers."""
    assert len(logs.clean("x", "a" * 5000)) == logs.FIELD_MAX + 1
    assert len(logs.clean("exception", "a" * 5000)) == 5000
    assert logs.clean("exception", "a" * 20_000 + "ValueError: x").endswith("ValueError: x")
    assert logs.clean("ms", 1.5) == 1.5
    assert logs.clean("raw", b"abc") == "abc"


def test_a_line_is_bounded_and_still_json(pipe):
    """A line past 16 KiB keeps who, when and what."""
    reader, fd = pipe
    writer = logs.configure(settings(), fd)
    logs.get_log("x").info("huge", **{f"field_{number}": "a" * 1000 for number in range(50)})
    writer.close()
    line = json.loads(os.read(reader, 65536))
    assert (line["message"], line["truncated"]) == ("huge", True)


def test_control_bytes_are_escaped(pipe):
    """An ANSI sequence in a value cannot rewrite a terminal."""
    reader, fd = pipe
    writer = logs.configure(settings(LOG_FORMAT="console"), fd)
    logs.get_log("x").info("odd", value="\x1b[31mred\x07")
    writer.close()
    out = os.read(reader, 65536)
    assert b"\x1b[31m" not in out
    assert b"\\x1b[31mred" in out


def test_logging_never_blocks(pipe):
    """With a reader that has stopped, lines beyond the buffer are dropped and counted; nobody waits."""
    _, fd = pipe
    writer = logs.LogWriter(fd, lines_max=10)
    done = threading.Event()

    def talk() -> None:
        for _ in range(5000):
            writer.write("x" * 1000)
        done.set()

    threading.Thread(target=talk, daemon=True).start()
    assert done.wait(5)
    assert writer.dropped > 4000
    writer.close(0.01)


def test_a_broken_descriptor_costs_lines_only():
    """A full disk or closed pipe drops lines, counted."""
    reader, fd = os.pipe()
    os.close(reader)
    writer = logs.LogWriter(fd)
    writer.write("lost")
    writer.close()
    assert writer.dropped == 1
    os.close(fd)
