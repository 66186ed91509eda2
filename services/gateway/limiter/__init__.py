"""The gateway's limiter: exact and global while Redis answers, local shares while it does not.

policies.py: the tiers document as sets of limits. overrides.py: which override is a caller's. subject.py: one caller
under one set, with the constant bytes of its command and its deny cache. decision.py: an outcome and its header
lines. local.py: Redis away. leases.py: requests in flight. limiter.py: the parts together, what `stages/limit.py` calls.
"""

from services.gateway.limiter.decision import Decision
from services.gateway.limiter.limiter import Limiter

__all__ = ["Decision", "Limiter"]
