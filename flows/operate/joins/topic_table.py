"""A topic as a table: of each key the latest value, and older versions where they are kept.

A row is its event time and its columns. Versions that no record can ask for any more are removed when their key
changes: what lies behind the history, except the newest of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import polars as pl

from flows.brokers.base import Records
from flows.operate.base import NO_TIME, OFFSET, PARTITION, TIME, WATERMARK, Batch, DeadLetters, Times, triggers_of
from flows.operate.group_keys import refuse_unkeyed
from flows.operate.joins.table_lookup import Row
from flows.operate.joins.versioned_rows import Put, VersionedRows
from flows.operate.tables import Changed, KeyEncoder, TaskTables, WithoutClosing

_pack = msgspec.msgpack.Encoder().encode

Decode = Callable[[bytes], Row]


class TopicTable(WithoutClosing):
    """One topic's table in one task.

    `read_key` makes the key of a message key, which is all that a removal has; `times` tells the topic's stream time as
    of turns of the round. What is asked for is the table as it was at a turn: `begin` tells that a new round begins.
    """

    def __init__(
        self,
        name: str,
        versions: str,
        key: str,
        columns: tuple[str, ...],
        history: int | None,
        *,
        encoder: KeyEncoder,
        read_key: Callable[[bytes], Any],
        decode: Decode,
        state: TaskTables,
        times: Callable[[Times], Times],
        changed: Changed,
        dead: DeadLetters,
        most: int = 50_000,
    ) -> None:
        self.table, self.floor = name, NO_TIME
        self._name, self._key, self._columns, self._history = name, key, columns, history
        self._encoder, self._read_key, self._decode = encoder, read_key, decode
        self._state, self._times, self._changed, self._dead = state, times, changed, dead
        self._versions = VersionedRows(versions, state, most)
        self._before: dict[bytes, tuple[list[int], list[bytes | None]]] = {}

    def begin(self, turns: int) -> None:
        """Begin a round of so many turns: what came before it came at no turn of it."""
        self._versions.begin(turns)
        self._before.clear()

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Take new values, in order."""
        frame = refuse_unkeyed(self._name, frame, batch, (self._key,), self._history is not None, self._dead)
        if not frame.height:
            return
        keys = self._encoder.encode_columns([frame[self._key].to_list()])
        times = frame[TIME].fill_null(NO_TIME).to_list()
        rows = map(_pack, zip(times, *(frame[c].to_list() for c in self._columns), strict=True))
        origins = zip(frame[PARTITION].to_list(), frame[OFFSET].to_list(), strict=True)
        turns = triggers_of(frame, batch).tolist()
        self._put(list(zip(keys, times, origins, rows, frame[WATERMARK].to_list(), turns, strict=True)))

    # As a table that others stand behind: all that comes is in the state at once, and no time changes it.

    @property
    def waiting(self) -> int:
        """The rows that wait for the commit: none."""
        return 0

    def flush(self, watermark: int) -> None:
        """Do nothing."""

    def remove(self, records: Records, times: Sequence[int], watermarks: Sequence[int], turns: Sequence[int]) -> None:
        """Take records without a value, in order."""
        found: list[Put] = []
        for row, key in enumerate(records.keys):
            try:
                if key is None:
                    raise ValueError("a null value without a key")
                (name,) = self._encoder.encode_columns([[self._read_key(key)]])
            except ValueError as problem:
                self._dead.refuse(self._name, records, row, f"it removes nothing: {problem}")
                continue
            origin = records.tp.partition, records.offsets[row]
            found.append((name, times[row], origin, None, watermarks[row], turns[row]))
        self._put(found)

    def find(self, keys: list[bytes], times: Sequence[int | None], turns: Times) -> list[Row | None]:
        """Return the rows of keys as of turns of the round, or, where versions are kept, as they were at the times.

        A time before those that are kept is taken as the first of them.
        """
        if self._history is None:
            return list(map(self._row, self._latest(keys, turns)))
        firsts = (now - self._history for now in self._times(turns).tolist())
        return [
            self._row(self._versions.at(key, None if time is None else max(time, first), turn))
            for key, time, first, turn in zip(keys, times, firsts, turns.tolist(), strict=True)
        ]

    def _latest(self, keys: list[bytes], turns: Times) -> list[bytes | None]:
        found = self._state.get_many(self._name, keys, uncommitted=True)
        if self._before:
            for place, (key, turn) in enumerate(zip(keys, turns.tolist(), strict=True)):
                if (history := self._before.get(key)) is not None:
                    changes, values = history
                    found[place] = values[bisect_right(changes, turn)]
        return found

    def _row(self, value: bytes | None) -> Row | None:
        return None if not value else self._decode(value)[1:]

    def _put(self, rows: Sequence[Put]) -> None:
        latest: dict[bytes, bytes | None]
        if self._history is None:
            self._remember(rows)
            latest = {key: row for key, _, _, row, _, _ in rows}
        else:
            self._versions.put(rows)
            bounds = {key: now - self._history for key, *_, now, _ in rows}
            self._versions.forget(bounds)
            latest = {key: self._versions.last(key) or None for key in bounds}
        if latest:
            self._state.stage(self._name, list(latest), list(latest.values()))
            self._changed(list(latest), list(latest.values()))

    def _remember(self, rows: Sequence[Put]) -> None:
        """Note what keys had before the round, and from which turn on they have what."""
        new = list(dict.fromkeys(key for key, *_ in rows if key not in self._before))
        found = self._state.get_many(self._name, new, uncommitted=True)
        self._before.update((key, ([], [value])) for key, value in zip(new, found, strict=True))
        for key, _, _, row, _, turn in rows:
            changes, values = self._before[key]
            changes.append(turn)
            values.append(row)
