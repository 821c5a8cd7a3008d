"""Progress bars of restores and sources on a terminal; now and then a line in the log elsewhere."""

from __future__ import annotations

import logging
import sys
from time import monotonic

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from flows.settings import Settings

log = logging.getLogger("flows.progress")

_LINE_EVERY = 5.0


class Progress:
    """Show how far restores and sources are."""

    def __init__(self, settings: Settings) -> None:
        self._bars: Bars | None = None
        self._on_terminal = sys.stderr.isatty() and not settings.log_json
        self._ids: dict[str, TaskID] = {}
        self._last_line: dict[str, float] = {}

    def restore(self, table: str, done: int, total: int, rate: float) -> None:
        """Show how much of a table is replayed."""
        if total:
            self._show(f"restore {table}", done, total, f"{rate:,.0f}/s")

    def restored(self, task_id: str) -> None:
        """Say that a task is ready."""
        log.debug("task %s is ready", task_id)

    def source(self, step: str, done: int, total: int | None) -> None:
        """Show how much a source has written."""
        self._show(f"source {step}", done, total, "")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bars is not None:
            self._bars.stop()

    def _show(self, what: str, done: int, total: int | None, more: str) -> None:
        if self._on_terminal:
            self._bar(what, done, total)
        else:
            self._line(what, done, total, more)

    def _bar(self, what: str, done: int, total: int | None) -> None:
        if self._bars is None:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Bars(*columns)
            self._bars.start()
        if what not in self._ids:
            self._ids[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._ids[what], completed=done, total=total)

    def _line(self, what: str, done: int, total: int | None, more: str) -> None:
        now = monotonic()
        if now - self._last_line.get(what, -_LINE_EVERY) >= _LINE_EVERY or done == total:
            self._last_line[what] = now
            log.info("%s: %s%s %s", what, f"{done:,}", "" if total is None else f" of {total:,}", more)
