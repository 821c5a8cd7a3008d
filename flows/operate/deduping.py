"""The first record of each key within some time; what was kept is remembered until no record can be near it any more.

A record is a repetition where one of its key was kept whose event time is less than `within` from its own. A record
that is `within` or more behind the stream time is refused, so what was kept can be forgotten once the stream time is
twice `within` beyond it: whenever that is done, the answers are the same.

Rows lie under `[event time][key]`, without a value; the hidden table beside it has the times of each key.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from flows.operate.base import NO_TIME, ROW, TIME, WATERMARK, Batch, DeadLetters, FrameStep
from flows.operate.closing import Closing
from flows.operate.open_windows import FIRST, GROUP, LAST, OpenWindows
from flows.operate.tables import KeyEncoder, TaskTables, WithoutClosing

KEPT = b"\x90"
"""The value of a row: an empty array of msgpack."""


class DedupeStep(WithoutClosing):
    """Leave out repetitions in one task."""

    def __init__(
        self,
        step: str,
        table: str,
        keys: tuple[str, ...],
        within: int,
        *,
        encoder: KeyEncoder,
        seen: OpenWindows,
        state: TaskTables,
        dead: DeadLetters,
        then: FrameStep,
    ) -> None:
        self._step, self.table, self._keys, self._within = step, table, keys, within
        self._encoder, self._seen, self._state = encoder, seen, state
        self._dead, self._then = dead, then
        self._past = Closing(table, encoder, state, _nobody, _nobody)
        self._times: dict[bytes, list[int]] = {}
        self._changed: dict[bytes, list[int]] = {}
        self._waiting = 0
        self.floor = NO_TIME

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Pass on the rows that are no repetition."""
        names = self._seen.keys(frame.select(self._keys))
        self._know(names)
        kept: list[int] = []
        rows = zip(names, frame[TIME].to_list(), frame[WATERMARK].to_list(), frame[ROW].to_list(), strict=True)
        for place, (name, time, now, row) in enumerate(rows):
            if time + self._within <= now:
                behind = (now - time) / 1_000_000
                reason = f"too late to tell whether {self._step} had it before: {behind:g} s behind the stream time"
                self._dead.refuse(self._step, batch.records, row, reason)
                continue
            times = self._times[name]
            if not any(abs(time - other) < self._within for other in times):
                times.append(time)
                self._changed[name] = times
                kept.append(place)
        if not kept:
            return
        firsts = frame if len(kept) == frame.height else frame[kept]
        self._waiting += len(kept)
        columns = [firsts[key].to_list() for key in self._keys]
        new = self._encoder.encode_columns(columns, firsts[TIME].to_list())
        self._state.stage(self.table, new, [KEPT] * len(new))
        self._then(firsts, batch)

    def _know(self, names: Sequence[bytes]) -> None:
        """Read what was kept of keys that this commit has not met yet."""
        unknown = list(dict.fromkeys(name for name in names if name not in self._times))
        if unknown:
            found = self._seen.lists(unknown)
            self._times.update((name, [time for time, _ in pairs]) for name, pairs in zip(unknown, found, strict=True))

    @property
    def waiting(self) -> int:
        """The rows kept since the last commit."""
        return self._waiting

    def flush(self, watermark: int) -> None:
        """Remember what was kept (step 2 of the commit), and forget what no record can be near."""
        if self._changed:
            names = list(self._changed)
            rows = [(group, time) for group, times in enumerate(self._changed.values()) for time in times]
            groups, times = [group for group, _ in rows], [time for _, time in rows]
            types = {GROUP: pl.Int64, FIRST: pl.Int64, LAST: pl.Int64}
            self._seen.put(names, pl.DataFrame({GROUP: groups, FIRST: times, LAST: times}, schema=types))
            self._changed, self._waiting = {}, 0
        self._times = {}
        if watermark != NO_TIME:
            bound = watermark - 2 * self._within + 1
            self._seen.drop(self._past.expire(bound), bound)


def _nobody(keys: list[bytes], states: Sequence[bytes | None]) -> None:
    """Tell no reader: the rows are no table of the person's."""
