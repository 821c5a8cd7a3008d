"""Progress bars of restores and sources on a terminal; now and then a line in the log elsewhere."""

from __future__ import annotations

import logging
import sys
from time import monotonic

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from flows.settings import Settings
from flows.state.restore import Progress as Report

log = logging.getLogger("flows.progress")

_LINE_EVERY = 5.0


class RestoreProgress:
    """How far one task's restore is, over all its tables; passes on to `report` what it is told."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._tables: dict[str, tuple[int, int]] = {}
        self.rate = 0.0

    def __call__(self, table: str, done: int, total: int, rate: float) -> None:
        """Note how much of a table is replayed; `rate` is in records a second over all tables."""
        self._tables[table] = (done, total)
        self.rate = rate
        self._report(table, done, total, rate)

    @property
    def done(self) -> int:
        """The records of the changelogs that are replayed."""
        return sum(done for done, _ in self._tables.values())

    @property
    def total(self) -> int:
        """The records of the changelogs that are to be replayed; 0 before that is known."""
        return sum(total for _, total in self._tables.values())

    @property
    def share(self) -> float:
        """How much is replayed, from 0 to 1."""
        return self.done / self.total if self.total else 0.0

    def words(self) -> str:
        """Say how far it is.

        >>> progress = RestoreProgress(lambda *_: None)
        >>> progress("orders", 492_000, 1_200_000, 300_000.0)
        >>> progress.words()
        'restoring, 41 % of 1.2 M records'
        """
        return f"restoring, {int(100 * self.share)} % of {_short(self.total)} records" if self.total else "restoring"


def _short(count: int) -> str:
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


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
