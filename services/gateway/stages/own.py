"""Routes for operators' eyes: `/metrics` is answered here, `/lb/status` goes on; both want role viewer or admin.

Stands between `authenticate` and `limit`: it needs the identity, and what it answers is exempt. `PUBLIC_OPS=open`
lets anybody see them (the old system did so always: fault 13e).
"""

from __future__ import annotations

from typing import Final

from services.core.verdicts import Answer, Outcome, Refusal
from services.gateway.identity import Identity
from services.http1.exchange import Exchange
from services.runtime.metrics import Metrics

REALM: Final = b'WWW-Authenticate: Bearer realm="scalable-api"\r\n'
SCOPE: Final = b'WWW-Authenticate: Bearer realm="scalable-api", error="insufficient_scope", scope="admin:read"\r\n'
NOBODY: Final = Refusal("authentication-required", "ops", headers=(REALM,))
NOT_YOU: Final = Refusal("forbidden", "ops", headers=(SCOPE,))


class Own:
    def __init__(self, metrics: Metrics, *, public: bool) -> None:
        self._metrics, self._public = metrics, public

    def __call__(self, x: Exchange) -> Outcome:
        if not x.route.ops:
            return None
        refusal = decide(x.identity, public=self._public)
        if refusal is not None or x.route.template != "/metrics":
            return refusal
        body, kind = self._metrics.render("")
        return Answer(200, (f"Content-Type: {kind}\r\n".encode(), b"Cache-Control: no-store\r\n"), body)


def decide(identity: Identity, *, public: bool) -> Refusal | None:
    if public or identity.views:
        return None
    return NOBODY if identity.anonymous else NOT_YOU
