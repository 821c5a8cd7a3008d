"""The stream time of a step with several inputs, and how far silence moves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from flows.operate.base import NO_TIME, Times

_NONE = np.zeros(0, np.int64)


class Origin(Protocol):
    """What records come from that have one stream time: an input partition, or a step with several inputs."""

    @property
    def time(self) -> int:
        """The stream time after all that was processed."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing comes from here for now."""

    @property
    def is_asleep(self) -> bool:
        """Whether that is only known of the time before a restart."""

    @property
    def quiet(self) -> int:
        """For how long it has been silent, where it is idle, in microseconds."""

    def times(self, turns: Times) -> Times:
        """Return the stream time as of turns of the round that the task has in hand, whichever inputs those are of."""


class WouldClose(Protocol):
    """The tables that a time goes to."""

    def would_close(self, time: int) -> bool:
        """Tell whether a stream time would close a window that is open now."""


class JoinedTime:
    """The stream time of a step with several inputs: the minimum over those that are not idle, all being idle the
    maximum. It never goes back.

    `silence` is how far the wall clock moved time while all inputs were idle: it ends the waiting of records for
    their other half, and closes the windows that wait for it behind this step. `hold` is how much older than that
    time the records are that the step makes of those that waited, as long as `waits` tells that there are some: what
    stands behind it sees time that much later.
    """

    def __init__(self, hold: int = 0, waits: Callable[[], bool] = lambda: False) -> None:
        self.inputs: list[Origin] = []
        self.hold, self._waits = hold, waits
        self.floor = self.silence = NO_TIME
        self._silent_from: tuple[int, int] | None = None

    @property
    def now(self) -> int:
        """The stream time."""
        return int(self.as_of(np.zeros(1, np.int64), after=True)[0])

    def as_of(self, turns: Times, *, after: bool = False) -> Times:
        """Return the stream time as of turns of the round in hand, or `after` all of it."""
        active = [i for i in self.inputs if not i.is_idle]
        times = [np.full(len(turns), i.time) if after else i.times(turns) for i in active or self.inputs]
        combined: Times = (np.minimum if active else np.maximum).reduce(times)
        return np.maximum(combined, self.floor)

    def keep(self) -> None:
        """Never go back behind this moment."""
        self.floor = self.now

    @property
    def needs_keeping(self) -> bool:
        """Tell whether the inputs' own times would not lead to this time again, since one of them is idle."""
        return self.floor > min(i.time for i in self.inputs)

    def reaches(self) -> int:
        """Look how far silence lets time go: at the wall clock's rate, from where it was when all fell silent."""
        if not all(i.is_idle for i in self.inputs):
            self._silent_from = None
            return max(self.now, self.silence)
        if self._silent_from is None:
            # A join among the inputs that had records waiting was not idle until now, though nothing came to it.
            counts_from_now = any(isinstance(i, JoinedTime) for i in self.inputs)
            self._silent_from = max(self.now, self.silence), self.quiet if counts_from_now else 0
        time, quiet = self._silent_from
        return max(self.now, self.silence, held_back(time, quiet - self.quiet))

    def broken(self) -> None:
        """Learn that records came."""
        if not all(i.is_idle for i in self.inputs):
            self._silent_from = None

    # As an origin itself.

    @property
    def time(self) -> int:
        return held_back(max(self.now, self.silence), self.hold)

    @property
    def is_idle(self) -> bool:
        return all(i.is_idle for i in self.inputs) and not self._waits()

    @property
    def quiet(self) -> int:
        return min(i.quiet for i in self.inputs)

    @property
    def is_asleep(self) -> bool:
        return any(i.is_asleep for i in self.inputs)

    def times(self, turns: Times) -> Times:
        found = np.maximum(self.as_of(turns), self.silence)
        return np.where(found == NO_TIME, NO_TIME, found - self.hold)


def held_back(time: int, by: int) -> int:
    """Return a time that much earlier; before the beginning there is nothing."""
    return NO_TIME if time == NO_TIME else time - by


def in_order(queued: Sequence[tuple[int, Times]]) -> tuple[Times, Times, Times]:
    """Put the rows of several frames in the order of their turns.

    Of each frame comes the side it is for, and its rows' turns; ties go by side, then as they came. Returns each row's
    frame, its place there, and its turn.
    """
    if not queued:
        return _NONE, _NONE, _NONE
    turns = np.concatenate([own for _, own in queued])
    lengths = [len(own) for _, own in queued]
    frames = np.repeat(np.arange(len(queued)), lengths)
    places = np.concatenate([np.arange(length) for length in lengths])
    order = np.lexsort((places, frames, np.repeat([side for side, _ in queued], lengths), turns))
    return frames[order], places[order], turns[order]
