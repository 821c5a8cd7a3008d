"""Ctrl-C, SIGTERM and SIGHUP: the first asks the worker to finish what is in flight, the second leaves at once.

A thread hears the signals, so that they work while the main thread is inside a long call of a library. Leaving at once
is safe: nothing uncommitted survives a process.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

import click

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopper:
    """Hear signals between `with` and its end.

    Until `on_stop` says whom to ask nothing is in flight, so that the first signal leaves at once too. `alive`, where
    given, is the reading end of a supervisor's pipe: its end counts as a signal. So the workers of a supervisor that
    was killed finish what is in flight, and those of one that left at once do so too.
    """

    def __init__(self, alive: int | None = None) -> None:
        self._alive = alive
        self._ask: Callable[[], object] | None = None
        self._asked = False
        self._lock = threading.Lock()

    def on_stop(self, ask: Callable[[], object]) -> None:
        """Name the function that asks for a graceful stop; it is called from another thread, once.

        Call it in the main thread, when all is imported: polars then takes SIGINT for itself, and raises
        KeyboardInterrupt in the middle of whatever it does.
        """
        for number in self._handlers:
            signal.signal(number, _heard_elsewhere)
        with self._lock:
            self._ask = ask

    def __enter__(self) -> Stopper:
        self._out, self._in = os.pipe()
        os.set_blocking(self._in, False)
        # A handler of Python makes the interpreter write the signal's number into the pipe, whatever runs.
        self._handlers: dict[int, Any] = {s: signal.signal(s, _heard_elsewhere) for s in _SIGNALS if not _is_ignored(s)}
        self._wakeup = signal.set_wakeup_fd(self._in, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, name="flows-signals", daemon=True)
        self._thread.start()
        if self._alive is not None:
            threading.Thread(target=self._watch, args=(self._alive,), name="flows-supervised", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._in)
        self._thread.join()
        os.close(self._out)

    def _listen(self) -> None:
        while numbers := os.read(self._out, 64):
            for number in numbers:
                if number in _SIGNALS:
                    self._hear(number)

    def _watch(self, alive: int) -> None:
        os.read(alive, 1)
        self._hear(signal.SIGTERM)

    def _hear(self, number: int) -> None:
        with self._lock:
            if self._ask is None or self._asked:
                os._exit(128 + number)
            self._asked = True
            with suppress(OSError):  # after SIGHUP the terminal may be gone
                click.echo("Stopping: finishing what is in flight. Ctrl-C once more leaves at once.", err=True)
            self._ask()


def _is_ignored(number: int) -> bool:
    """Tell whether whoever started the process wants it to live on, as `nohup` does."""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


def _heard_elsewhere(number: int, frame: FrameType | None) -> None:
    """Do nothing in the main thread."""
