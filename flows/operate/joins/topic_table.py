"""A topic as a table: of each key the latest value, and older versions where they are kept.

A row is its event time and its columns. Versions lie in a table of their own under `[key][event time][partition]
[offset]`, a removal being an empty one. Those that no record can ask for any more are removed when their key changes:
what lies behind the history, except the newest of it.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import polars as pl

from flows.brokers.base import Records
from flows.operate.base import NO_TIME, OFFSET, PARTITION, ROW, TIME, WATERMARK, Batch, DeadLetters, Times, triggers_of
from flows.operate.group_keys import refuse_unkeyed
from flows.operate.tables import Changed, KeyEncoder, TaskTables, WithoutClosing

_SIGN = 1 << 63
_VERSION = struct.Struct(">QIQ")
_pack = msgspec.msgpack.Encoder().encode
_FIRST = (0, 0)
_TOP = b"\xff" * _VERSION.size

Row = tuple[Any, ...]
Decode = Callable[[bytes], Row]

Find = Callable[[list[bytes], Sequence[int | None], Times], list[Row | None]]
"""Returns the rows of keys, as of event times and turns."""

Put = tuple[bytes, int, tuple[int, int], bytes | None, int, int]
"""A key, its event time, partition and offset, the row (None for a removal), the stream time and the turn."""


Versions = list[tuple[int, int, int, int, bytes]]
"""Of a key, in order: event time, partition and offset, when it came (counted in turns), and the row, if any."""


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


class VersionedRows:
    """The versions of a table's rows, as of each turn. Up to about `most` of them are held in memory between rounds."""

    def __init__(self, table: str, state: TaskTables, most: int) -> None:
        self._table, self._state, self._most = table, state, most
        self._held: dict[bytes, Versions] = {}
        self._count = 0
        self._gone: dict[bytes, int] = {}
        self._began = self._ends = 0

    def begin(self, turns: int) -> None:
        """Begin a round of so many turns."""
        # Until now somebody might have asked for what was forgotten.
        for key, count in self._gone.items():
            del self._held[key][:count]
            self._count -= count
        self._gone = {}
        if self._count > self._most:
            self._held, self._count = {}, 0
        self._began = self._ends
        self._ends += turns

    def put(self, rows: Sequence[Put]) -> None:
        """Add versions."""
        new: dict[bytes, bytes | None] = {}
        for key, time, origin, row, _, turn in rows:
            self._insert(self._of(key), (time, *origin, self._began + turn, row or b""))
            new[_version(key, time, origin)] = row or b""
        self._state.stage(self._table, list(new), list(new.values()))

    def _insert(self, versions: Versions, new: tuple[int, int, int, int, bytes]) -> None:
        if not versions or new > versions[-1]:
            versions.append(new)
        elif versions[at := bisect_left(versions, new[:3])][:3] == new[:3]:
            versions[at] = new
            self._count -= 1
        else:
            versions.insert(at, new)
        self._count += 1

    def forget(self, bounds: dict[bytes, int]) -> None:
        """Remove, of each key, the versions that were replaced before a time."""
        for key, bound in bounds.items():
            versions = self._of(key)
            count = bisect_left(versions, (bound + 1,)) - 1
            if count > 0:
                doomed = [_version(key, time, (p, o)) for time, p, o, *_ in versions[:count]]
                self._state.stage(self._table, doomed, [None] * count)
                self._gone[key] = count

    def last(self, key: bytes) -> bytes:
        """Return the last version of a key that has some."""
        return self._of(key)[-1][-1]

    def at(self, key: bytes, time: int | None, turn: int) -> bytes | None:
        """Return the last version of a key up to a time of those that had come by a turn."""
        versions, now = self._of(key), self._began + turn
        at = len(versions) if time is None else bisect_left(versions, (time + 1,))
        return next((versions[i][4] for i in range(at - 1, -1, -1) if versions[i][3] <= now), None)

    def _of(self, key: bytes) -> Versions:
        found = self._held.get(key)
        if found is None:
            rows = self._state.scan(self._table, _version(key, -_SIGN, _FIRST), key + _TOP, uncommitted=True)
            found = self._held[key] = [
                (time - _SIGN, *origin, -1, row)
                for (time, *origin), row in ((_VERSION.unpack_from(name, len(key)), row) for name, row in rows)
            ]
            self._count += len(found)
        return found


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
        find: Find,
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
            times, turns = frame[TIME].to_list(), triggers_of(frame, batch)
            rows = self._find(keys, [times[p] for p in asked], turns[asked])
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
