"""The flags of `up`."""

from __future__ import annotations

from services.cli.up.options import Options


def test_defaults_are_those_of_the_page() -> None:
    """Loopback, temporary data, the quickstart, demo as it fits."""
    bare = Options()
    assert (bare.host, bare.data_dir, bare.file, bare.demo, bare.demo_rate) == ("127.0.0.1", None, None, None, 1.0)
