from __future__ import annotations

import re

import pytest

from tests.load.bench.peers import BODY, TEMPLATES, filled


def test_the_answer_has_301_bytes() -> None:
    """Every figure is of that answer."""
    assert len(BODY.encode()) == 301


def test_a_template_is_filled() -> None:
    """Every mark gets its value, also numbers; other @ stay."""
    assert filled("listen @PORT@; mail a@b; @DIR@/x", {"PORT": 80, "DIR": "/tmp/y"}) == "listen 80; mail a@b; /tmp/y/x"


def test_a_mark_without_a_value_is_an_error() -> None:
    """A half-filled configuration would start something else."""
    with pytest.raises(KeyError, match="PORT"):
        filled("@PORT@", {})


def test_no_template_names_a_port_or_a_folder_of_a_machine() -> None:
    """Ports are free ones and files lie in the run's folder; only Debian's Lua libraries have a fixed place."""
    for path in TEMPLATES.iterdir():
        text = path.read_text().replace("/usr/share/lua/5.1/", "")
        assert re.findall(r"127\.0\.0\.1:\d|(?<![\w@.])/(?:usr|etc|var|tmp|home)/", text) == [], path.name
