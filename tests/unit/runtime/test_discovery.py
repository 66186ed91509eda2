"""Discovery: three of its forms, what a bad one does (nothing), and that changes arrive."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.runtime import discovery, endpoints
from services.runtime.discovery import Discovery, make_source, parse_endpoints
from services.runtime.endpoints import EndpointInfo, SourceError, merged
from tests.harness.wait import eventually

API_1 = {"id": "api-1", "host": "127.0.0.1", "port": 4001, "controlUrl": "http://127.0.0.1:4002", "version": "1.0.0"}


class Seen:
    """An `on_change` that keeps what it got."""

    def __init__(self) -> None:
        self.sets: list[tuple[EndpointInfo, ...]] = []

    def __call__(self, found: tuple[EndpointInfo, ...]) -> None:
        self.sets.append(found)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery.FileSource, "period_s", 0.01)
    monkeypatch.setattr(discovery.DnsSource, "period_s", 0.01)
    monkeypatch.setattr(discovery, "DNS_FIRST_WAIT_S", 0.1)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What discovery logs as warnings."""
    logged: list[dict[str, Any]] = []
    for module in (discovery, endpoints):
        monkeypatch.setattr(module, "log", _Log(logged))
    return iter([logged])


class _Log:
    def __init__(self, logged: list[dict[str, Any]]) -> None:
        self._logged = logged

    def warning(self, event: str, **fields: Any) -> None:
        self._logged.append({"event": event, **fields})

    def info(self, event: str, **fields: Any) -> None:
        pass


def write(path: Path, entries: object) -> None:
    """As the supervisor does: a new file renamed over the old one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    fresh.replace(path)


async def test_static() -> None:
    """URLs are endpoints with `host:port` as id, reported once, in order, doubles dropped."""
    seen = Seen()
    found = Discovery(["http://localhost:3001", "http://[::1]:3002/", "http://localhost:3001"], seen)
    await found.start()
    await found.stop()
    assert found.current == (EndpointInfo("localhost:3001", "localhost", 3001), EndpointInfo("[::1]:3002", "::1", 3002))
    assert seen.sets == [found.current]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:3001",
        "https://localhost:1",
        "http://localhost",
        "http://localhost:0",
        "http://localhost:99999",
        "http://u@localhost:1",
        "http://localhost:1/path",
        "http://:1",
        "http://a b:1",
        "http://[::1",
        "http://[zz::1]:1",
        "dns:localhost",
        "dns:",
        "file:",
        "k8s:default/api",
        "k8s:api:3001",
        "k8s:default/api:70000",
        "k8s:Default/api:http",
        "k8s:default/api:two words",
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    """What is none of the forms is an error that shows it."""
    with pytest.raises(SourceError, match=r"not one of|no host:port|has no path"):
        make_source(text)


async def test_file_changes_arrive(tmp_path: Path) -> None:
    """A file that appears later, changes and becomes empty is followed; all its members are read."""
    path, seen = tmp_path / "api.json", Seen()
    found = Discovery([f"file:{path}"], seen)
    await found.start()
    assert seen.sets == [()]
    write(path, [API_1])
    await eventually(lambda: len(seen.sets) == 2, 2, "the file was read")
    assert found.current == (EndpointInfo("api-1", "127.0.0.1", 4001, "http://127.0.0.1:4002", 1.0, "1.0.0"),)
    write(path, [{**API_1, "draining": True, "weight": 2}, {"host": "127.0.0.1", "port": 4003}])
    await eventually(lambda: len(seen.sets) == 3, 2, "the second version was read")
    assert [(one.id, one.draining, one.weight) for one in found.current] == [
        ("api-1", True, 2.0),
        ("127.0.0.1:4003", False, 1.0),
    ]
    write(path, [])
    await eventually(lambda: found.current == (), 2, "an empty list is an answer")
    await found.stop()


async def test_bad_files_change_nothing_and_are_logged_once(tmp_path: Path, warnings: Iterator[list[Any]]) -> None:
    """Half a file, a missing one, a folder, a FIFO: the last good answer stays and one line is logged per kind."""
    logged = next(warnings)
    path, seen = tmp_path / "api.json", Seen()
    write(path, [API_1])
    found = Discovery([f"file://{path}"], seen)
    await found.start()
    good = found.current
    write(path, '[{"id":')
    await eventually(lambda: len(logged) == 1, 2, "bad JSON is logged")
    path.unlink()
    await eventually(lambda: len(logged) == 2, 2, "a missing file is logged")
    path.mkdir()
    await eventually(lambda: len(logged) == 3, 2, "a folder is logged")
    path.rmdir()
    os.mkfifo(path)
    await eventually(lambda: logged[-1]["reason"] == "not a regular file", 2, "a FIFO is logged")
    count = len(logged)
    for _ in range(10):
        assert not await found._sources[0].look()
    assert len(logged) == count
    assert found.current == good
    path.unlink()
    write(path, [API_1])
    assert not await found._sources[0].look()
    await found.stop()
    assert seen.sets == [good]


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ("nonsense", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ({"id": "a"}, "not a JSON array"),
        ([1], "entry 0 is no object"),
        ([{**API_1, "port": "4001"}], "port has the wrong type"),
        ([{**API_1, "port": True}], "port has the wrong type"),
        ([{**API_1, "port": 0}], "no host and port"),
        ([{**API_1, "host": "a b"}], "no host and port"),
        ([{"id": "a"}], "no host and port"),
        ([{**API_1, "weight": 0}], "weight must be"),
        ([{**API_1, "weight": 1e9}], "weight must be"),
        ('[{"host":"a","port":1,"weight":NaN}]', "weight must be"),
        ([{**API_1, "controlUrl": "ftp://x"}], "controlUrl is no http URL"),
        ([{**API_1, "id": "a\nb"}], "id must be"),
        ([{**API_1, "draining": "yes"}], "draining has the wrong type"),
    ],
)
def test_bad_entries_refuse_the_file(entries: object, reason: str) -> None:
    """One bad entry refuses the file with a reason that names it."""
    data = entries if isinstance(entries, str) else json.dumps(entries)
    with pytest.raises(SourceError, match=reason):
        parse_endpoints(data.encode(), "file:x")


def test_the_first_thousand_once_each(warnings: Iterator[list[Any]]) -> None:
    """Doubles by id or address count once; beyond a thousand the rest is left out, with a line."""
    logged = next(warnings)
    entries = [{"id": f"api-{n % 1500}", "host": "127.0.0.1", "port": 1 + n % 1500} for n in range(3000)]
    found = parse_endpoints(json.dumps(entries).encode(), "file:x")
    assert [one.id for one in found] == [f"api-{n}" for n in range(1000)]
    assert logged[0]["kept"] == 1000
    one = EndpointInfo("a", "127.0.0.1", 1)
    assert merged([(one,), (EndpointInfo("b", "127.0.0.1", 1), EndpointInfo("a", "127.0.0.1", 2))]) == (one,)


def test_large_files_are_refused(tmp_path: Path) -> None:
    """A file above one MiB is not parsed."""
    path = tmp_path / "big"
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(SourceError, match="larger"):
        discovery.read_regular(str(path))


class Resolver:
    """A scripted `getaddrinfo`: each answer a list of addresses or an exception; the last one repeats."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self._answers = list(answers)

    async def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer]


async def test_dns_keeps_the_last_good_answer(monkeypatch: pytest.MonkeyPatch, warnings: Iterator[list[Any]]) -> None:
    """Addresses are endpoints, sorted; NXDOMAIN and empty answers change nothing and are logged once each."""
    logged = next(warnings)
    gone = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    resolver = Resolver(["127.0.0.3", "127.0.0.2"], gone, gone, [], ["127.0.0.4"])
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolver)
    seen = Seen()
    found = Discovery(["dns:apis.test:3001"], seen)
    await found.start()
    assert [one.id for one in found.current] == ["127.0.0.2:3001", "127.0.0.3:3001"]
    await eventually(lambda: len(seen.sets) == 2, 2, "the new answer arrived")
    assert [one.host for one in found.current] == ["127.0.0.4"]
    assert [entry["reason"] for entry in logged] == ["Name or service not known", "no addresses"]
    await found.stop()


async def test_a_dead_resolver_does_not_hold_up_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look is bounded; the answer is taken when it comes."""
    release = asyncio.Event()

    async def slow(host: str, port: int, **_: Any) -> list[Any]:
        await release.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", slow)
    seen = Seen()
    found = Discovery(["dns:apis.test:3001", "http://127.0.0.9:1"], seen)
    await found.start()
    assert [one.id for one in found.current] == ["127.0.0.9:1"]
    release.set()
    await eventually(lambda: len(found.current) == 2, 2, "the late answer arrived")
    await found.stop()
