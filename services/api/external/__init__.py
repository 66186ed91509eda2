"""The external demo dependency: a simulator (or EXTERNAL_URL) behind the breaker `external-service`."""

from services.api.external.dependency import External

__all__ = ["External"]
