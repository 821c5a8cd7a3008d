"""How many random cases a test draws, and which.

Usually few, and the same at each run: a red test is red again. `FLOWS_HYPOTHESIS=thorough` draws ten times as many, and
others each time; a case that fails is kept in .hypothesis and told with the line that plays it again.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

THOROUGH = os.environ.get("FLOWS_HYPOTHESIS") == "thorough"
"""Whether time is no matter; also lets polars have all of its threads."""

_MORE = 10

# No busy machine makes a test red.
_EITHER: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],
    "report_multiple_bugs": False,
}
settings.register_profile("quick", derandomize=True, **_EITHER)
settings.register_profile("thorough", max_examples=100 * _MORE, print_blob=True, **_EITHER)
settings.load_profile("thorough" if THOROUGH else "quick")  # holds where a test says nothing, too


def drawn(cases: int, **options: Any) -> settings:
    """Return settings by which a test draws so many cases: `@drawn(20)` above `@given(...)`."""
    return settings(max_examples=cases * _MORE if THOROUGH else cases, **options)
