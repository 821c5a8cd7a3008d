"""Locks among processes, on files of their own; the kernel gives them back when a process dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from weakref import WeakSet

_open: WeakSet[FileLock] = WeakSet()


class FileLock:
    """A lock that one holder at a time has, among processes and among the `FileLock`s of one process."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _open.add(self)

    def try_take(self) -> bool:
        """Take it unless another has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def take(self, deadline: float, poll: float) -> bool:
        """Take it, looking every `poll` seconds until `deadline` (monotonic); return whether it worked."""
        while not self.try_take():
            if time.monotonic() >= deadline:
                return False
            time.sleep(poll)
        return True

    def give_back(self) -> None:
        """Let another take it."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the lock and its file back; does nothing the second time."""
        if self in _open:
            _open.discard(self)
            os.close(self._descriptor)


def _close_in_child() -> None:
    # A forked child shares the open files: it would keep a lock that its parent's death should free.
    for lock in list(_open):
        lock.close()


os.register_at_fork(after_in_child=_close_in_child)
