"""The CRD's version: an older one is told of, a newer one or an unreadable one is not."""

from __future__ import annotations

import pytest

from scalable_operator.installed import AGAIN_S, ANNOTATION, CRD, EVERY_S, Installed
from scalable_operator.kube import Kube
from services.schema.crd import SCHEMA_VERSION, crd
from tests.unit.scalable_operator.api_server import api_server


@pytest.mark.parametrize(
    ("said", "older"),
    [
        (crd()["metadata"]["annotations"], False),
        ({ANNOTATION: str(SCHEMA_VERSION + 1)}, False),
        ({ANNOTATION: str(SCHEMA_VERSION - 1)}, True),
        ({ANNOTATION: "new"}, True),
        ({}, True),
    ],
)
async def test_only_an_older_one_is_told_of(said, older) -> None:
    """The sentence names both versions; without the annotation it is older than all that have it."""
    async with api_server() as server:
        server.put(CRD.path, {"metadata": {"annotations": said}})
        kube = Kube(server.login)
        installed = Installed(kube)
        assert await installed.look() is older
        assert (f"needs {SCHEMA_VERSION}" in installed.outdated) is older
        await kube.close()


async def test_it_is_looked_at_rarely_and_sooner_while_it_is_too_old() -> None:
    """Once a minute; after ten seconds a CRD that was applied meanwhile is seen."""
    now = 100.0
    async with api_server() as server:
        server.put(CRD.path, {"metadata": {"annotations": {}}})
        kube = Kube(server.login)
        installed = Installed(kube, lambda: now)
        assert await installed.look()
        server.put(CRD.path, crd())
        assert not await installed.look()
        now += AGAIN_S
        assert await installed.look()
        assert installed.outdated == ""
        now += EVERY_S - 1
        await installed.look()
        assert len(server.asked) == 2
        await kube.close()


async def test_without_the_right_to_read_it_nothing_is_said() -> None:
    """403, as in a namespaced installation, or no answer at all."""
    async with api_server() as server:
        server.script = [403]
        kube = Kube(server.login)
        installed = Installed(kube)
        assert not await installed.look()
        assert installed.outdated == ""
        await kube.close()
