"""What the API server answers, as our models read it; the rest is in tests/cluster/test_cli.py."""

from __future__ import annotations

import pytest

from services.cli.errors import UNREACHABLE, CliError
from services.cli.targets.cluster import stored as read
from tests.unit.cli.commands.test_status import stored


def test_more_metadata_than_ours() -> None:
    """managedFields and the like are left out; status may be absent."""
    body = stored()
    body["metadata"] |= {"managedFields": [], "resourceVersion": "7", "uid": "u"}
    del body["status"]
    found = read(body)
    assert (found.metadata.name, found.metadata.uid, found.status.conditions) == ("shop", "u", ())


def test_a_status_of_another_version() -> None:
    """One sentence with the field and who wrote it."""
    body = stored()
    body["status"] |= {"controllerVersion": "9.9", "surprise": 1}
    with pytest.raises(CliError) as failed:
        read(body)
    assert (failed.value.exit_code, "surprise" in failed.value.why, "9.9" in failed.value.why) == (UNREACHABLE,) + (
        True,
    ) * 2
