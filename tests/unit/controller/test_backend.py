"""The Protocol: both homes fit it."""

from __future__ import annotations

from services.controller.backend import Backend, Record
from services.controller.backends.processes import ProcessBackend
from services.controller.fake import FakeBackend
from tests.unit.controller.scene import api


def test_the_fake_is_a_backend():
    """Checked by mypy too; here at run time, member by member, for the fake and the processes."""
    members = {name for name in vars(Backend) if not name.startswith("_")} - {"epoch"}
    made: Backend = FakeBackend(api())
    assert made.may_write()
    assert members <= set(dir(FakeBackend))
    assert members <= set(dir(ProcessBackend))


def test_an_empty_record_has_nothing_in_force():
    """What a first visit starts from."""
    assert (Record().active, Record().phase, Record().history) == (None, "Active", ())
