"""Several workers on one machine: one process each, started again when they die, stopped together.

More cores are more processes, spawned and never forked: the threads of polars and RocksDB do not survive a fork. Each
process is a full member of the group; the supervisor itself touches neither broker nor state.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from time import monotonic

log = logging.getLogger("flows.supervisor")

_BACKOFF = (0.5, 30.0)
_SETTLED = 60.0
_START = 10.0

Command = Callable[[int, int], Sequence[str]]
"""Return the command line of a process, of its number and the descriptor whose end tells it that it is alone."""


class Supervisor:
    """Keep `count` processes running until stopped, or until each has ended by itself with exit code 0.

    A process that dies is started again, after half a second at first and twice as long each time, up to 30 s, until
    one has lived for a minute. One that fails within ten seconds of the very first start, with an exit code of its
    own, has a mistake to tell of, which would only come again: all are stopped, and its code is returned.

    Each process inherits the reading end of a pipe. It ends when the supervisor does, however that dies.
    """

    def __init__(self, command: Command, count: int) -> None:
        self._command, self._count = command, count
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """Run until all processes have ended; return the exit code for the whole."""
        alive, held = os.pipe()
        try:
            await asyncio.gather(*(self._keep(number, alive) for number in range(self._count)))
        finally:
            os.close(alive)
            os.close(held)
        return self._code

    def stop(self) -> None:
        """Ask all processes to finish what is in flight and leave."""
        self._stopping.set()
        for process in self._running.values():
            process.terminate()

    async def _keep(self, number: int, alive: int) -> None:
        pause, first = _BACKOFF[0], True
        while not self._stopping.is_set():
            begun = monotonic()
            code = await self._once(number, alive)
            lived = monotonic() - begun
            if code == 0 or self._stopping.is_set():
                self._code = self._code or max(code, 0)
                return
            if first and code > 0 and lived < _START:
                self._code = code
                self.stop()
                return
            first = False
            if lived >= _SETTLED:
                pause = _BACKOFF[0]
            log.warning("process %d %s: it is started again in %g s", number, _told(code), pause)
            await self._sleep(pause)
            pause = min(2 * pause, _BACKOFF[1])

    async def _once(self, number: int, alive: int) -> int:
        """Run a process to its end and return its exit code, the negative number of a signal that ended it."""
        process = await asyncio.create_subprocess_exec(
            *self._command(number, alive),
            pass_fds=(alive,),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C goes to the supervisor alone, which passes it on
        )
        self._running[number] = process
        log.info("process %d is started, pid %d", number, process.pid)
        if self._stopping.is_set():
            process.terminate()
        try:
            return await process.wait()
        finally:
            del self._running[number]

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


def _told(code: int) -> str:
    if code >= 0:
        return f"failed with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
