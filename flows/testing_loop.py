"""An event loop on a manual clock: it runs until nothing can go on without time passing, and never sleeps."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from flows.clock import ManualClock

_PATIENCE = 30.0
Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class QuietSelector(selectors.DefaultSelector):
    """Stop the loop where it would wait; note for how long it would."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: ManualLoop | None = None
        self.next_timer: float | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0) or self.loop is None:
            return found
        if self.loop.waits_outside(len(self.get_map())):
            return super().select(_PATIENCE)
        self.next_timer = timeout
        self.loop.stop()
        return found


class ManualLoop(asyncio.SelectorEventLoop):
    """Timers follow a manual clock; threads and sockets are waited for, since they need no clock to go on."""

    def __init__(self, clock: ManualClock) -> None:
        self._quiet = QuietSelector()
        super().__init__(self._quiet)
        self._clock = clock
        self._own_fds = len(self._quiet.get_map())
        self._in_threads = 0
        self._quiet.loop = self

    def time(self) -> float:
        return self._clock.monotonic()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Arguments], Result], *args: *Arguments
    ) -> asyncio.Future[Result]:
        """Run blocking work in a thread; the loop counts as busy until its result is here."""
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._back_from_thread)
        return future

    def _back_from_thread(self, future: asyncio.Future[Any]) -> None:
        self._in_threads -= 1

    def waits_outside(self, fds: int) -> bool:
        return self._in_threads > 0 or fds > self._own_fds

    def run_until_quiet(self) -> None:
        """Run until all that is left waits for the clock, or for what will never come."""
        self._quiet.next_timer = None
        # Inside a running loop (an async test) this one needs a thread; the caller waits, so nothing runs at once.
        if not _inside_a_loop():
            self.run_forever()
            return
        thread = threading.Thread(target=self.run_forever, name="flows-test-loop")
        thread.start()
        thread.join()

    def next_timer(self) -> float | None:
        """Return the seconds until the next timer, as of the last quiet moment."""
        return self._quiet.next_timer

    def run_to_end(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start work and run until quiet; the task may be unfinished if it waits for the clock."""
        task = self.create_task(work)
        self.run_until_quiet()
        return task


def _inside_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
