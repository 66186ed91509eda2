"""The api's two-level cache: L1 in the process, L2 in Redis, generations that empty both everywhere (data-path.md
section 8).
"""

from services.api.cache.cache import Cache, Fetched, OwnError
from services.api.cache.entry import Namespace
from services.api.cache.found import Found

__all__ = ["Cache", "Fetched", "Found", "Namespace", "OwnError"]
