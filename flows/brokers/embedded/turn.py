"""A fair lock among processes: whoever waits for the next turn gets it before the one that just had it.

SQLite alone is not fair: a busy process takes its write lock again before a sleeping one has looked. Here a turn
needs two locks, one after the other: `next`, held only while waiting, and `now`, held for the turn. A process that
ends its turn meets the waiting one at `next` and cannot overtake it.

The lock is about fairness only; SQLite's own lock keeps the file safe. So a process that was stopped (SIGSTOP) while
it waited cannot hold up the others for ever: after `_PATIENCE` seconds they go on without their turn.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from flows.brokers.embedded.locks import FileLock

_NEXT_POLL = 0.0005  # seconds; the same for all who wait, or the quicker one would win more often
_NOW_POLL = 0.00005  # the one that is next waits alone, so it may be eager
_PATIENCE = 2.0
_HURRY = 0.05  # once somebody was found to be stuck


class Turn:
    """Hold it (`with turn:`) while writing. One thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._next = FileLock(folder / "turn.next.lock")
        self._now = FileLock(folder / "turn.now.lock")
        self._patience = _PATIENCE
        self._held = False

    def __enter__(self) -> None:
        deadline = time.monotonic() + self._patience
        # 1. Become the next; 2. wait for the present turn to end; 3. let another become the next.
        if self._next.take(deadline, _NEXT_POLL):
            try:
                self._held = self._now.take(deadline, _NOW_POLL)
            finally:
                self._next.give_back()
        self._patience = _PATIENCE if self._held else _HURRY

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held:
            self._held = False
            self._now.give_back()

    def close(self) -> None:
        """Give the files back; does nothing the second time."""
        self._next.close()
        self._now.close()
