"""Golden files: texts that a person has looked at once, and that a change must not alter unseen.

`FLOWS_UPDATE_GOLDEN=1 pytest tests` rewrites those that differ. A rewritten file still fails its test, so that an
update is never mistaken for a success: look at the difference, commit it, and run again without the variable.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "FLOWS_UPDATE_GOLDEN"


def assert_golden(path: Path, text: str) -> None:
    """Compare a text with its golden file."""
    wanted = path.read_text(encoding="utf-8") if path.exists() else None
    if text != wanted and os.environ.get(VARIABLE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"rewrote {path}: look at the difference, then run again without {VARIABLE}")
    assert wanted is not None, f"{path} is missing: run with {VARIABLE}=1 to write it"
    assert text == wanted
