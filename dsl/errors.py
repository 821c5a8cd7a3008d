"""The error of a wrong declaration: it names the thing, its place in the person's code and the nearest right name."""

from __future__ import annotations

import difflib
import functools
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_HERE = Path(__file__).parent
# A plan computes its sub-topologies in a cached property, which puts a frame of functools between ours.
_OWN_ROOMS = (*(f"{room}{os.sep}" for room in (_HERE, _HERE.parent / "flows")), functools.__file__)


class DeclarationError(Exception):
    """Tell what is wrong in a declaration, where it stands and what would be right.

    `place` is `file:line` of the person's code; `suggestion` is the nearest right name or `None`.
    """

    def __init__(self, message: str, *, suggestion: str | None = None, place: str | None = None) -> None:
        self.place = place or declaration_place()
        self.suggestion = suggestion
        hint = f" Did you mean {suggestion!r}?" if suggestion else ""
        super().__init__(f"{message}{hint} (at {self.place})")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name closest to a mistaken one, or None where nothing is close."""
    known = list(known)
    by_fold = {k.casefold(): k for k in known}
    found = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.5)
    return by_fold[found[0]] if found else None


def declaration_place() -> str:
    """Return `file:line` of the innermost frame outside of Flows itself."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OWN_ROOMS):
        if frame.f_back is None:
            break
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
