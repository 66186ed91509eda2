"""`python -m services.api`"""

from __future__ import annotations

from services.api.app import ApiService
from services.runtime.process import run
from services.runtime.settings import ApiSettings

run(ApiSettings, ApiService)
