"""The process node's parts by themselves, without a control plane: environments, volumes, probes, a container's life."""

from __future__ import annotations

import asyncio
import base64
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.kubelet.container import Container, Launch
from tests.cluster.kubelet.probes import Verdict, probing, url_of
from tests.cluster.kubelet.spec import (
    Around,
    NotPlayedError,
    NotYetError,
    environment,
    expanded,
    relocated,
    volume_files,
    with_files,
)
from tests.cluster.kubelet.volumes import write_volume
from tests.harness.wait import eventually

Object = dict[str, Any]
POD: Object = {
    "metadata": {"name": "api-1", "namespace": "shop", "uid": "u", "labels": {"app.kubernetes.io/name": "api"}},
    "spec": {"nodeName": "here", "serviceAccountName": "default"},
}
OBJECTS: dict[tuple[str, str, str], Object] = {
    ("ConfigMap", "shop", "config"): {"data": {"A": "1", "B": "$(A)"}, "binaryData": {"raw": "AAE="}},
    ("Secret", "shop", "keys"): {"data": {"token": base64.b64encode(b"geheim").decode()}},
}


def around() -> Around:
    return Around(POD, "127.0.0.9", lambda kind, namespace, name: OBJECTS.get((kind, namespace, name)))


def env(*entries: Object, **more: Any) -> dict[str, str]:
    return environment({"env": list(entries), **more}, around())


def from_(**source: Object) -> Object:
    return {"name": "X", "valueFrom": source}


def test_env_from_every_source():
    """Values, ConfigMap and Secret keys, fields of the pod, whole objects with a prefix; later ones win, $(NAME) of earlier ones is filled in."""
    assert env({"name": "A", "value": "a"}, {"name": "B", "value": "$(A)-$(NONE)-$$(A)"}) == {
        "A": "a",
        "B": "a-$(NONE)-$(A)",
    }
    assert env(from_(configMapKeyRef={"name": "config", "key": "A"})) == {"X": "1"}
    assert env(from_(secretKeyRef={"name": "keys", "key": "token"})) == {"X": "geheim"}
    assert env(from_(fieldRef={"fieldPath": "status.podIP"})) == {"X": "127.0.0.9"}
    assert env(from_(fieldRef={"fieldPath": "metadata.labels['app.kubernetes.io/name']"})) == {"X": "api"}
    sources = [{"prefix": "P_", "secretRef": {"name": "keys"}}, {"configMapRef": {"name": "none", "optional": True}}]
    assert env({"name": "P_token", "value": "own"}, envFrom=sources) == {"P_token": "own"}


@pytest.mark.parametrize(
    "entry",
    [
        from_(configMapKeyRef={"name": "none", "key": "A"}),
        from_(configMapKeyRef={"name": "config", "key": "C"}),
        from_(secretKeyRef={"name": "none", "key": "A"}),
    ],
)
def test_what_is_missing_is_waited_for_or_left_out(entry):
    """Required: not yet. Optional: the variable is not there."""
    with pytest.raises(NotYetError):
        env(entry)
    (ref,) = entry["valueFrom"].values()
    assert env({**entry, "valueFrom": {k: {**ref, "optional": True} for k in entry["valueFrom"]}}) == {}


def test_what_is_not_played_is_said():
    """Rather than a wrong value."""
    for entry in (from_(resourceFieldRef={"resource": "limits.cpu"}), from_(fieldRef={"fieldPath": "status.phase"})):
        with pytest.raises(NotPlayedError):
            env(entry)


def test_expansion():
    """A dollar by two; unknown names stay."""
    assert expanded("$$$(A)$(B)$", {"A": "1"}) == "$1$(B)$"


def test_mount_paths_are_relocated():
    """Whole components only, the longest first, anywhere in a value."""
    mounts = {"/etc/a": Path("/x/1"), "/etc/a/b": Path("/x/2")}
    assert (
        relocated("/etc/a/f,file:/etc/a/b/f,/etc/ab,/my/etc/a,/etc/a", mounts)
        == "/x/1/f,file:/x/2/f,/etc/ab,/my/etc/a,/x/1"
    )


def test_services_become_files():
    """Each source of a list."""
    text = with_files("k8s:shop/api:http,http://a:1,k8s:shop/b:91", lambda *parts: Path("/e", ".".join(parts)))
    assert text == "file:/e/shop.api.http,http://a:1,file:/e/shop.b.91"


def test_volumes():
    """ConfigMap keys (all, or items at their paths), Secrets, projected accounts; an emptyDir has no files of its own."""

    def files(**volume: Object) -> dict[str, bytes] | None:
        return volume_files({"name": "v", **volume}, around(), "token!", b"CA")

    assert files(configMap={"name": "config"}) == {"A": b"1", "B": b"$(A)", "raw": b"\0\1"}
    assert files(configMap={"name": "config", "items": [{"key": "A", "path": "d/a"}]}) == {"d/a": b"1"}
    assert files(configMap={"name": "none", "optional": True}) == {}
    assert files(secret={"secretName": "keys"}) == {"token": b"geheim"}
    assert files(emptyDir={}) is None
    sources = [
        {"serviceAccountToken": {"path": "token"}},
        {"secret": {"name": "keys", "items": [{"key": "token", "path": "t"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    assert files(projected={"sources": sources}) == {"token": b"token!", "t": b"geheim", "namespace": b"shop"}
    with pytest.raises(NotYetError):
        files(configMap={"name": "none"})
    with pytest.raises(NotPlayedError):
        files(hostPath={"path": "/"})


def test_a_volume_changes_all_at_once(tmp_path):
    """One rename: a reader that holds the folder sees the old set to the end of it; names come and go; the same set writes nothing."""
    folder = tmp_path / "v"
    assert write_volume(folder, {"a": b"1", "d/b": b"2"})
    assert not write_volume(folder, {"a": b"1", "d/b": b"2"})
    assert ((folder / "a").read_bytes(), (folder / "d" / "b").read_bytes()) == (b"1", b"2")
    before = (folder / "a").stat().st_ino
    assert write_volume(folder, {"a": b"3", "c": b"4"})
    assert (folder / "a").read_bytes() == b"3"
    assert (folder / "a").stat().st_ino != before
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith("..")) == ["a", "c"]
    assert len([path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]) == 1


def test_verdicts_turn_after_so_many_in_a_row():
    """One success, three failures; a success between starts the count anew; what it was stays until then."""
    verdict = Verdict(1, 3)
    assert [verdict.take(good) for good in (False, True, False, False, True, False, False, False, True)] == [
        None, True, True, True, True, True, True, False, True,
    ]  # fmt: skip


def test_probe_urls():
    """Ports by name or number, the pod's address unless a host is named; other kinds are not played."""
    container = {"ports": [{"name": "control", "containerPort": 9180}]}
    assert (
        url_of({"httpGet": {"path": "/readyz", "port": "control"}}, container, "127.0.0.9")
        == "http://127.0.0.9:9180/readyz"
    )
    assert url_of({"httpGet": {"port": 1, "host": "::1", "scheme": "HTTPS"}}, container, "x") == "https://[::1]:1/"
    with pytest.raises(NotPlayedError):
        url_of({"exec": {"command": ["true"]}}, container, "x")


async def test_probing_ends_when_it_is_told_to():
    """Each verdict is told, from the first look on."""
    told: list[bool] = []
    looks = iter([False, False, True])

    async def look() -> bool:
        return next(looks)

    def turned(good: bool) -> bool:
        told.append(good)
        return not good

    await probing({"periodSeconds": 0, "failureThreshold": 2}, look, turned)
    assert told == [False, True]


def container(tmp_path: Path, http: httpx.AsyncClient, code: str, **more: Any) -> Container:
    launch = Launch([sys.executable, "-c", code], {})
    return Container(
        {"name": "c", "image": "i"}, "127.0.0.1", tmp_path / "c.log", http, lambda: launch, lambda: None, **more
    )


async def test_a_container_lives_by_its_policy(tmp_path):
    """Always: again, with a pause from the second crash on. OnFailure: until it is well. Never: once."""
    async with httpx.AsyncClient() as http:
        never = container(tmp_path, http, "raise SystemExit(3)", policy="Never")
        await never.run()
        assert (never.code, never.restarts) == (3, 0)
        flag = tmp_path / "flag"
        once = f"import pathlib, sys; p = pathlib.Path({str(flag)!r}); sys.exit(0) if p.exists() else (p.touch(), sys.exit(1))"
        well = container(tmp_path, http, once, policy="OnFailure")
        await well.run()
        assert (well.code, well.restarts, well.last["terminated"]["exitCode"]) == (0, 1, 1)
        always = container(tmp_path, http, "pass")
        async with asyncio.TaskGroup() as group:
            group.create_task(always.run())
            await eventually(
                lambda: always.state.get("waiting", {}).get("reason") == "CrashLoopBackOff", 10, "it pauses"
            )
            assert always.restarts == 1
            await always.stop(1)


async def test_a_container_is_asked_before_it_is_killed(tmp_path):
    """SIGTERM ends one that listens to it; SIGKILL one that does not, after the grace period."""
    async with httpx.AsyncClient() as http:
        deaf = (
            "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
        )
        polite = "import time; print(flush=True); time.sleep(60)"
        for code, ending in ((polite, signal.SIGTERM), (deaf, signal.SIGKILL)):
            one = container(tmp_path, http, code)
            one.log.unlink(missing_ok=True)
            async with asyncio.TaskGroup() as group:
                group.create_task(one.run())
                await eventually(lambda: one.log.exists() and one.log.read_text(), 10, "it runs")
                await one.stop(5 if ending == signal.SIGTERM else 0.2)
            assert one.process is not None
            assert one.process.returncode == -ending
            assert one.code == 128 + ending
