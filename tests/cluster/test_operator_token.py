"""The operator's own token: replaced in its file while it runs, the old one refused from then on."""

from __future__ import annotations

import httpx

from tests.cluster.operator_scene import OLDEST, Scene
from tests.cluster.test_operator_crashes import definitions, rotated

pytestmark = OLDEST

CACHED_S = 30
"""The API server believes a token for ten seconds after it checked it."""
BOUND = "operator-token"


def refused(scene: Scene, token: str) -> bool:
    with httpx.Client(verify=False, trust_env=False) as http:  # noqa: S501  # loopback
        answer = http.get(f"{scene.plane.url}/api", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code == 401


def test_a_replaced_token_is_used(scene, proxy):
    """The same process goes on as leader: its writes and its watches have the new token when the old one is refused."""
    secrets = f"/api/v1/namespaces/{scene.namespace}/secrets"
    scene.client.do("POST", secrets, {"metadata": {"name": BOUND}})
    scene.platform()
    old = scene.token(BOUND)
    process = scene.operator(proxy.url, old)
    scene.apply()
    scene.ready()
    before = scene.status()["tiers"]["activeRevision"]
    scene.sign_in(scene.kubeconfigs[process.pid], scene.token(), proxy.url)
    scene.client.do("DELETE", f"{secrets}/{BOUND}")
    ended = scene.until(lambda: refused(scene, old), CACHED_S)
    proxy.end_watches()
    scene.until(lambda: 'code="401"' in scene.asked(process, "/metrics").text)
    scene.change({"spec": {"tiers": {"definitions": definitions(50)}}})
    took = scene.until(lambda: rotated(scene, before))
    print(f"\nold token refused after {ended:.1f} s; watches ended, tiers changed → enforced: {took:.1f} s")
    assert process.poll() is None
    assert scene.leads(process)
