"""`python -m services.gateway`."""

from __future__ import annotations

from services.gateway.app import Gateway
from services.runtime.process import run
from services.runtime.settings import GatewaySettings

run(GatewaySettings, Gateway)
