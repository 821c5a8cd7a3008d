"""What one input partition of a task feeds, and its stream time as of each turn of the round in hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from flows.brokers.base import Records
from flows.compile.feeds import Derived, Feed
from flows.operate.agent import AgentRunner
from flows.operate.base import NO_TIME, Batch, Times
from flows.operate.expiring import Expiries
from flows.operate.joins.origins import Origin
from flows.source.base import Source
from flows.source.rounds import Part


class Removed(NamedTuple):
    """Records without a value: their event times, and the stream time and turn as of each."""

    records: Records
    times: list[int]
    running: list[int]
    turns: list[int]


class KeptTable(Protocol):
    """A table that streams are joined with: it tells its rows as they were at each turn of the round."""

    def begin(self, turns: int) -> None:
        """Begin a round of so many turns, and forget what the rows were in the one before."""

    def process(self, frame: pl.DataFrame, batch: Batch) -> None: ...

    def remove(
        self, records: Records, times: Sequence[int], watermarks: Sequence[int], turns: Sequence[int]
    ) -> None: ...


class Branch(Feed, kw_only=True):
    """What one input partition feeds.

    `quiet` is for how many microseconds it is silent, where it is idle; `asleep` tells that it was idle when the task
    was last committed, and that nothing came since. `kept` are its records as tables, which take those without a value
    too, and come before all else in a round. `one_by_one` tells that what a record does to a table is asked for behind
    it; `comes_first` that other inputs ask for it. `before`, `turns` and `running` are the stream time before the round
    in hand, and as of its turns.
    """

    source: Source
    expiries: Expiries
    agents: list[AgentRunner] = []
    quiet: int = 0
    asleep: bool = False
    before: int = NO_TIME
    turns: Times | None = None
    running: Times = np.zeros(0, np.int64)
    feeds: list[Derived] = []
    kept: list[KeptTable] = []
    one_by_one: bool = False
    comes_first: bool = False

    def open(self, part: Part, turns: int) -> list[Batch | Removed]:
        """Read records of a round of so many turns."""
        self.before = self.time
        pieces = list(self._pieces(part))
        found = [self._read(piece, turns) for piece in pieces]
        moves = [_moves(piece, one) for piece, one in zip(pieces, found, strict=True)]
        self.turns, self.running = (np.concatenate(arrays) for arrays in zip(*moves, strict=True))
        return found

    def close(self) -> None:
        """Let go of the round."""
        self.turns = None

    def _pieces(self, part: Part) -> Iterator[Part]:
        """Yield records in pieces that have values, or have none where that is for a table."""
        rest: Part | None = part
        while rest is not None and self.kept:
            is_removal = rest.records.values[0] is None
            same = (n for n, value in enumerate(rest.records.values) if (value is None) != is_removal)
            piece, rest = rest.cut(next(same, len(rest.records)))
            yield piece
        if rest is not None:
            yield rest

    def _read(self, part: Part, turns: int) -> Batch | Removed:
        records, own = part
        if self.kept and records.values[0] is None:
            # They have their own time, where the topic's values would not tell it.
            good, times, running = self.source.pass_over(records)
            own = own[np.isin(np.array(records.offsets), np.array(good.offsets))]
            return Removed(good, times.tolist(), running.tolist(), own.tolist())
        batch = self.source.read(records, self.wants_frame)
        if len(batch) < turns:
            places = np.searchsorted(np.array(records.offsets), np.array(batch.records.offsets))
            batch.triggers = own if len(batch) == len(own) else own[places]
        return batch

    @property
    def wants_frame(self) -> bool:
        return bool(self.steps or self.kept)

    @property
    def has_writers(self) -> bool:
        """Whether other tasks wait for this input's time."""
        return self.writes or any(derived.writes for derived in self.feeds)

    @property
    def is_watched(self) -> bool:
        """Whether it matters to anyone that it falls silent."""
        return self.writes or bool(self.feeds)

    def mark_all_again(self) -> None:
        """Have the next commit tell the stream time to those who wait for it."""
        for feed in (self, *self.feeds):
            feed.mark_again()

    @property
    def origin(self) -> Origin:
        return self

    @property
    def time(self) -> int:
        """The stream time after all that was processed."""
        return self.source.watermark.time

    @property
    def tells_idle(self) -> bool:
        """Whether other tasks are told that nothing comes for now."""
        return self.source.watermark.idle

    @property
    def is_asleep(self) -> bool:
        return self.asleep

    @property
    def is_idle(self) -> bool:
        """Whether nothing comes for now."""
        return self.source.watermark.idle or self.asleep

    def times(self, turns: Times) -> Times:
        """Return the stream time as of turns of the round in hand."""
        if self.turns is None:
            return np.full(len(turns), self.time)
        places = np.searchsorted(self.turns, turns, side="right")
        return np.concatenate([[self.before], self.running])[places]


def _moves(part: Part, read: Batch | Removed) -> tuple[Times, Times]:
    """Return the turns at which time may move, and the stream time as of them."""
    if isinstance(read, Removed):
        return np.array(read.turns, np.int64), np.array(read.running, np.int64)
    if read.passed is not None:
        return part.turns, read.passed
    return part.turns if read.triggers is None else read.triggers, read.watermarks
