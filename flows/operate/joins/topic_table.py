"""A topic as a table: of each key the latest value, and older versions where they are kept.

A row is its event time and its columns. Versions lie in a table of their own under `[key][event time][partition]
[offset]`, a removal being an empty one. Those that no record can ask for any more are removed when their key changes:
what lies behind the history, except the newest of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import polars as pl

from flows.brokers.base import Records
from flows.operate.base import NO_TIME, OFFSET, PARTITION, ROW, TIME, WATERMARK, Batch, DeadLetters
from flows.operate.group_keys import refuse_unkeyed
from flows.operate.tables import Changed, KeyEncoder, TaskTables, WithoutClosing

_SIGN = 1 << 63
_VERSION = struct.Struct(">QIQ")
_pack = msgspec.msgpack.Encoder().encode
_FIRST, _LAST = (0, 0), ((1 << 32) - 1, (1 << 64) - 1)

Row = tuple[Any, ...]
Decode = Callable[[bytes], Row]


class TopicTable(WithoutClosing):
    """One topic's table in one task.

    `read_key` makes the key of a message key, which is all that a removal has; `now` tells the topic's stream time.
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
        now: Callable[[], int],
        changed: Changed,
        dead: DeadLetters,
    ) -> None:
        self.table, self.floor = name, NO_TIME
        self._name, self._versions, self._key, self._columns, self._history = name, versions, key, columns, history
        self._encoder, self._read_key, self._decode = encoder, read_key, decode
        self._state, self._now, self._changed, self._dead = state, now, changed, dead

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Take new values, in order."""
        frame = refuse_unkeyed(self._name, frame, batch, (self._key,), self._history is not None, self._dead)
        if not frame.height:
            return
        keys = self._encoder.encode_columns([frame[self._key].to_list()])
        times = frame[TIME].fill_null(NO_TIME).to_list()
        rows = map(_pack, zip(times, *(frame[c].to_list() for c in self._columns), strict=True))
        origins = zip(frame[PARTITION].to_list(), frame[OFFSET].to_list(), strict=True)
        self._put(list(zip(keys, times, origins, rows, frame[WATERMARK].to_list(), strict=True)))

    # As a table that others stand behind: all that comes is in the state at once, and no time changes it.

    @property
    def waiting(self) -> int:
        """The rows that wait for the commit: none."""
        return 0

    def flush(self, watermark: int) -> None:
        """Do nothing."""

    def remove(self, records: Records, times: Sequence[int], watermarks: Sequence[int]) -> None:
        """Take records without a value, in order."""
        found: list[tuple[bytes, int, tuple[int, int], bytes | None, int]] = []
        for row, key in enumerate(records.keys):
            try:
                if key is None:
                    raise ValueError("a null value without a key")
                (name,) = self._encoder.encode_columns([[self._read_key(key)]])
            except ValueError as problem:
                self._dead.refuse(self._name, records, row, f"it removes nothing: {problem}")
                continue
            origin = records.tp.partition, records.offsets[row]
            found.append((name, times[row], origin, None, watermarks[row]))
        self._put(found)

    def find(self, keys: list[bytes], times: Sequence[int | None]) -> list[Row | None]:
        """Return the rows of keys as they are now, or, where versions are kept, as they were at the times.

        A time before those that are kept is taken as the first of them.
        """
        if self._history is None:
            return [self._row(value) for value in self._state.get_many(self._name, keys, uncommitted=True)]
        first = self._now() - self._history
        return [
            self._row(self._version(key, None if time is None else max(time, first)))
            for key, time in zip(keys, times, strict=True)
        ]

    def _row(self, value: bytes | None) -> Row | None:
        return None if not value else self._decode(value)[1:]

    def _put(self, rows: Sequence[tuple[bytes, int, tuple[int, int], bytes | None, int]]) -> None:
        if self._history is None:
            latest: dict[bytes, bytes | None] = {key: row for key, _, _, row, _ in rows}
        else:
            latest = {}
            for key, time, origin, row, now in rows:
                self._state.stage(self._versions, [_version(key, time, origin)], [row or b""])
                self._forget(key, now - self._history)
                latest[key] = self._version(key, None) or None
        if latest:
            self._state.stage(self._name, list(latest), list(latest.values()))
            self._changed(list(latest), list(latest.values()))

    def _version(self, key: bytes, time: int | None) -> bytes | None:
        """Return the last version of a key up to a time."""
        return next((value for _, value in reversed(self._between(key, time))), None)

    def _between(self, key: bytes, time: int | None) -> list[tuple[bytes, bytes]]:
        last = _SIGN - 1 if time is None else time
        start, end = _version(key, -_SIGN, _FIRST), _version(key, last, _LAST) + b"\x00"
        return list(self._state.scan(self._versions, start, end, uncommitted=True))

    def _forget(self, key: bytes, bound: int) -> None:
        """Remove the versions that were replaced before a time."""
        gone = [name for name, _ in self._between(key, bound)][:-1]
        if gone:
            self._state.stage(self._versions, gone, [None] * len(gone))


def _version(key: bytes, time: int, origin: tuple[int, int]) -> bytes:
    return key + _VERSION.pack(max(time + _SIGN, 0), *origin)


class TableLookup:
    """Join the rows of a stream with those of a table. `columns` are the added ones with their types."""

    def __init__(
        self,
        step: str,
        keys: tuple[str, ...],
        columns: dict[str, Any],
        is_inner: bool,
        *,
        encoder: KeyEncoder,
        find: Callable[[list[bytes], Sequence[int | None]], list[Row | None]],
        dead: DeadLetters,
        then: Callable[[pl.DataFrame, Batch], None],
    ) -> None:
        self._step, self._keys, self._columns, self._is_inner = step, keys, columns, is_inner
        self._encoder, self._find, self._dead, self._then = encoder, find, dead, then
        self._nothing = (None,) * len(columns)

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Look the batch's rows up; one with a null key finds nothing."""
        columns = [frame[k].to_list() for k in self._keys]
        asked = [place for place, parts in enumerate(zip(*columns, strict=True)) if None not in parts]
        found: list[Row | None] = [None] * frame.height
        if asked:
            keys = self._encoder.encode_columns([[column[place] for place in asked] for column in columns])
            times = frame[TIME].to_list()
            rows = self._find(keys, [times[p] for p in asked])
            for place, row in zip(asked, rows, strict=True):
                found[place] = row
        if self._is_inner:
            if len(asked) < frame.height:
                known = set(asked)
                for place, row in enumerate(frame[ROW].to_list()):
                    if place not in known:
                        self._dead.refuse(self._step, batch.records, row, f"null key for {self._step}", on_error="skip")
            kept = [place for place, row in enumerate(found) if row is not None]
            frame, found = frame[kept], [found[place] for place in kept]
        if not frame.height:
            return
        values = zip(*(self._nothing if row is None else row for row in found), strict=True)
        added = [pl.Series(n, list(v), dtype=t) for (n, t), v in zip(self._columns.items(), values, strict=True)]
        self._then(frame.with_columns(added), batch)
