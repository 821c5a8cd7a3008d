"""Progress bars of restores and sources on a terminal; now and then a line in the log elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from flows.logs import write_lines_by
from flows.settings import Settings

Report = Callable[[str, str, int, int, float], None]
"""Called with task, table, offsets done, offsets in total, and records a second over the task's tables."""

log = logging.getLogger("flows.progress")

_LINE_EVERY = 5.0


class RestoreProgress:
    """How far one task's restore is, over all its tables; passes on to `report` what it is told."""

    def __init__(self, report: Report, task_id: str) -> None:
        self._report, self._task_id = report, task_id
        self._tables: dict[str, tuple[int, int]] = {}
        self.rate = 0.0

    def __call__(self, table: str, done: int, total: int, rate: float) -> None:
        """Note how much of a table is replayed; `rate` is in records a second over all tables."""
        self._tables[table] = (done, total)
        self.rate = rate
        self._report(self._task_id, table, done, total, rate)

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

        >>> progress = RestoreProgress(lambda *_: None, "orders/0")
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
    """Show how far restores and sources are: a table's restore over all tasks of this worker."""

    def __init__(self, settings: Settings) -> None:
        self._bars: Bars | None = None
        self._on_terminal = sys.stderr.isatty() and not settings.log_json
        self._parts: dict[str, dict[str, tuple[int, int, float]]] = {}
        self._told: dict[tuple[str, str], tuple[int, int]] = {}
        self._ids: dict[str, TaskID] = {}
        self._last_line: dict[str, float] = {}

    def restore(self, task_id: str, table: str, done: int, total: int, rate: float) -> None:
        """Show how much of a table is replayed."""
        if not total or self._told.get((table, task_id)) == (done, total):
            return
        self._told[table, task_id] = (done, total)
        parts = self._parts.setdefault(table, {})
        parts[task_id] = (done, total, rate)
        all_done, whole, rate = map(sum, zip(*parts.values(), strict=True))
        self._show(f"restore {table}", int(all_done), int(whole), f"{rate:,.0f}/s")
        if all_done == whole:
            del self._parts[table]

    def source(self, step: str, done: int, total: int | None) -> None:
        """Show how much a source has written."""
        self._show(f"source {step}", done, total, "")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bars is not None:
            self._bars.stop()
            write_lines_by(None)
            self._bars = None
            self._ids.clear()

    def _show(self, what: str, done: int, total: int | None, more: str) -> None:
        if self._on_terminal:
            self._bar(what, done, total)
        if not self._on_terminal or done == total:
            self._line(what, done, total, more)

    def _bar(self, what: str, done: int, total: int | None) -> None:
        """Move a bar; one that is full goes, and with the last of them all traces on the terminal."""
        if what not in self._ids and done != total:
            self._ids[what] = self._open().add_task(what, total=total)
        if what in self._ids and self._bars is not None:
            self._bars.update(self._ids[what], completed=done, total=total)
            if done == total:
                self._bars.remove_task(self._ids.pop(what))
                if not self._ids:
                    self.close()

    def _open(self) -> Bars:
        if self._bars is None:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            bars = self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
            write_lines_by(lambda line: bars.console.print(Text.from_ansi(line), soft_wrap=True))
            bars.start()
        return self._bars

    def _line(self, what: str, done: int, total: int | None, more: str) -> None:
        now = monotonic()
        if now - self._last_line.get(what, -_LINE_EVERY) >= _LINE_EVERY or done == total:
            self._last_line[what] = now
            log.info("%s: %s%s %s", what, f"{done:,}", "" if total is None else f" of {total:,}", more)
