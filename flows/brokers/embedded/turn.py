"""A fair lock among processes: whoever waits for the next turn gets it before the one that just had it.

SQLite alone is not fair: a busy process takes its write lock again before a sleeping one has looked. Here a
turn needs two file locks, one after the other: `next`, held only while waiting, and `now`, held for the turn. A
process that ends its turn meets the waiting one at `next` and cannot overtake it. The kernel gives both back when
a process dies.

The lock is about fairness only; SQLite's own lock keeps the file safe. So a process that was stopped (SIGSTOP)
while it waited cannot hold up the others for ever: after `patience` seconds they go on without their turn.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from weakref import WeakSet

_POLL = 0.0005  # seconds; the same for all, or the quicker one would win more often
_PATIENCE = 2.0
_HURRY = 0.05  # once somebody was found to be stuck

_open: WeakSet[Turn] = WeakSet()


class Turn:
    """Hold it (`with turn:`) while writing. One thread at a time."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._next = os.open(folder / "turn.next.lock", flags, 0o666)
        try:
            self._now = os.open(folder / "turn.now.lock", flags, 0o666)
        except OSError:
            os.close(self._next)
            raise
        self._patience = _PATIENCE
        self._held = False
        _open.add(self)

    def __enter__(self) -> None:
        deadline = time.monotonic() + self._patience
        # 1. Become the next; 2. wait for the present turn to end; 3. let another become the next.
        if waited := take(self._next, deadline):
            try:
                self._held = take(self._now, deadline)
            finally:
                unlock(self._next)
        self._patience = _PATIENCE if waited and self._held else _HURRY

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held:
            self._held = False
            unlock(self._now)

    def close(self) -> None:
        """Give the files back; does nothing the second time."""
        if self in _open:
            _open.discard(self)
            os.close(self._next)
            os.close(self._now)


def try_lock(descriptor: int) -> bool:
    """Lock a file for this process unless another holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Give a lock back."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def take(descriptor: int, deadline: float) -> bool:
    """Lock a file for this process, waiting until `deadline` (monotonic); return whether that worked."""
    while not try_lock(descriptor):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def _close_in_child() -> None:
    # A forked child shares the open files: it would keep a lock that its parent's death should free.
    for turn in list(_open):
        turn.close()


os.register_at_fork(after_in_child=_close_in_child)
