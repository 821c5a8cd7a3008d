"""A module that keeps tables for others, as attributes: `test_tables_used.py` reaches them from outside."""

from __future__ import annotations

import flows
from tests.dsl import shelf as deeper  # its own name, as a package's modules may hold each other

app = flows.App("shelf")
on_shelf = app.table("on_shelf", key=str, value=int, default=int)

__all__ = ["app", "deeper", "on_shelf"]
