"""The pytest plugin: the fixture `drive`, which makes test drivers and closes them when the test has ended.

pytest finds it by itself (entry point `pytest11`) wherever Flows is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from flows.app import App
    from flows.testing import Driver


class Drive(Protocol):
    """What the fixture `drive` gives: a function that starts a driver."""

    def __call__(self, app: App, *, now: float | None = None) -> Driver:
        """Start a driver of the app whose manual clock begins at `now`, in seconds since the epoch (None: today)."""


@pytest.fixture
def drive() -> Iterator[Drive]:
    """Drive apps by hand: `t = drive(app)`, then `t.send(...)`, `t.table(...).rows()`; closed after the test."""
    with ExitStack() as drivers:

        def start(app: App, *, now: float | None = None) -> Driver:
            return drivers.enter_context(app.test(now=now))

        yield start
