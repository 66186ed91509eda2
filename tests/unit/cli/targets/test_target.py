"""Which object is meant, and what another version wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.errors import UNREACHABLE, USAGE, CliError
from services.cli.targets.local import Local
from services.cli.targets.target import parsed, the_one
from services.schema.status import StoredObject
from tests.unit.cli.commands.test_status import running, stored


class Two(Local):
    """A place with two objects."""

    def objects(self) -> list[StoredObject]:
        return [StoredObject.model_validate(stored()) for _ in range(2)]


def test_several_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong usage, with the names that there are."""
    with pytest.raises(CliError, match="which") as failed:
        the_one(Two(running(tmp_path, stored(), monkeypatch)), None)
    assert (failed.value.exit_code, failed.value.why) == (USAGE, "there are shop, shop")


def test_another_versions_object() -> None:
    """One sentence with the first wrong field."""
    with pytest.raises(CliError, match="cannot be read") as failed:
        parsed(stored(surprise=1), "version 9")
    assert (failed.value.exit_code, "surprise" in failed.value.why) == (UNREACHABLE, True)
