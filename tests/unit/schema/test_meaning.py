"""Cron texts and time zones, read once and named when they cannot be."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from services.schema.meaning import cron, zone


@pytest.mark.parametrize("name", ["Nowhere/At_All", "Europe", "/etc/passwd", "../UTC"])
def test_a_zone_nobody_knows(name):
    """A region's folder, a path or another name is refused with a sentence, never with a fault of the library."""
    with pytest.raises(ValueError, match=f"no time zone is named '{name}'"):
        zone(name)


def test_a_zone():
    """The platform's, or tzdata's."""
    assert zone("Europe/Warsaw") == ZoneInfo("Europe/Warsaw")


def test_a_cron_field_outside_its_range():
    """The field is named."""
    assert cron("0 8 * * 1-5").hours == (8,)
    with pytest.raises(ValueError, match="minute: '60'"):
        cron("60 8 * * *")
