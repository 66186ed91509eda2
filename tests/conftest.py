"""What every test shares: Hypothesis judges results, not the machine's speed.

Its limits per example and for drawing them are wall-clock time: on a machine that others load as well they fail tests
at random.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("scalable-api", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("scalable-api")
