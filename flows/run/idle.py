"""Silence: when an input is idle, and how far time has moved since, for windows that wait for their end."""

from __future__ import annotations

from flows.compile.pipeline import Branch
from flows.operate.base import NO_TIME
from flows.source.watermarks import is_quiet


class Silence:
    """Watch one input of a task.

    An input is idle once it was read to its end, not paused, for `idle_after` seconds. From then on time counts as
    having moved at the wall clock's rate since the silence began: it never jumps to the wall clock, and time during
    which no worker ran does not count.
    """

    def __init__(self, branch: Branch, idle_after: float) -> None:
        self._branch, self._idle_after = branch, idle_after
        self._since: float | None = None
        self._from = NO_TIME

    def broken(self) -> None:
        """Records came."""
        self._since = None
        self._branch.source.watermark.idle = False

    def observe(self, now: float) -> bool:
        """Learn that the input is at its end; tell whether that changes anything worth a commit."""
        source = self._branch.source
        mark = source.watermark
        if source.producers and not is_quiet(mark, source.producers):
            self._since = None
            return False
        if self._since is None:
            self._since = now
            self._from = max(mark.time, mark.advanced)
        if now - self._since < self._idle_after:
            return False
        became_idle = not mark.idle
        mark.idle = True
        return self._close(now) or (became_idle and bool(self._branch.writers))

    def due(self) -> float | None:
        """Return when the input becomes idle, if it stays silent."""
        return None if self._since is None else self._since + self._idle_after

    def _close(self, now: float) -> bool:
        if self._from == NO_TIME or self._since is None:
            return False
        reached = self._from + round((now - self._since) * 1_000_000)
        if not any(t.would_close(reached) for t in self._branch.tables):
            return False
        self._branch.source.watermark.advanced = reached
        for table in self._branch.tables:
            table.floor = reached
        return True
