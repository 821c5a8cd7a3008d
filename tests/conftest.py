"""What holds for all tests: random histories are the same at each run, so that a red test is red again."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")
