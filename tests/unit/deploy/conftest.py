"""What the tests of kind and skaffold share: programs built from Go modules, and programs that stand in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.binaries import MissingNeedError, Pins, built


def built_program(pins: Pins, config: pytest.Config) -> Path:
    """The only one of those pins. A first build shows its progress through pytest's capture; what it lacks skips the test."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            (program,) = built(pins).values()
    except MissingNeedError as missing:
        pytest.skip(str(missing))
    return program


def stand_in(folder: Path, name: str, body: str) -> None:
    """A program that adds its command line to $STATE/calls, and then does as `body` says."""
    file = folder / name
    file.write_text(f'#!/bin/sh\nprintf "%s %s\\n" {name} "$*" >> "$STATE/calls"\n{body}\n')
    file.chmod(0o755)
