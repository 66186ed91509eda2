"""`python -m services.balancer`."""

from __future__ import annotations

from services.balancer.app import Balancer
from services.runtime.process import run
from services.runtime.settings import BalancerSettings

if __name__ == "__main__":
    run(BalancerSettings, Balancer)
