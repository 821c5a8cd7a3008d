"""What changes in a table, as batches of rows: one a commit, for the steps behind the table.

Of a row that changes several times within a commit only the last is told, as Kafka Streams does with its cache. Each
row told has a number, counted from the task's first and kept in its state: it stands for the offset that records have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import polars as pl

from flows.brokers.base import Records, TopicPartition
from flows.operate.base import NO_TIME, Batch, DeadLetters, meta_columns
from flows.operate.tables import TaskTables

Round = dict[bytes, bytes | None]
"""Rows of a table that changed: stored keys and states, None for a removed one."""

Row = dict[str, Any]

_NEXT, _HELD = b"next", b"held"
_first = msgspec.msgpack.Decoder(list[Any]).decode


Questions = Callable[[Sequence[Any], Sequence[bytes], Sequence[bytes]], list[dict[str, Any]]]
"""Adds to rows what stands for them where they are joined elsewhere, from their stored keys and states."""


class TableRows(Protocol):
    """The rows of a table, from their stored form."""

    def key(self, key: bytes) -> Row: ...

    def rows(self, entries: Sequence[tuple[bytes, bytes]]) -> list[Row]: ...

    def visible(self, entries: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]: ...


class Told(NamedTuple):
    """One row to pass on: with the state that it has, or had if `sign` is -1, and the time of the change."""

    sign: int
    key: bytes
    state: bytes
    time: int


class TableChanges:
    """The changes of one table in one task.

    `columns` are those of the stream, with their types. `removed` names the column that tells removals, `sign` the one
    for rows that are to be subtracted or added; without either only new rows are told. `in_key_order` says that rows
    come in the order of their stored keys, else they come in the order of their times. Where the steps behind the
    table are new, all rows that it has come first. With `every` a row is told at most once in each such stretch of
    stream time, in microseconds, unless `release` says that nothing is to wait. `time` is a stream time: no row behind
    it is still to come. `questions` adds the columns of a question, of rows whose column `needs` is not null.
    """

    def __init__(
        self,
        step: str,
        place: TopicPartition,
        keys: tuple[str, ...],
        columns: Mapping[str, Any],
        *,
        rows: TableRows,
        state: TaskTables,
        numbers: str,
        encode_key: Callable[[Any], bytes | None],
        dead: DeadLetters,
        now_ms: Callable[[], int],
        every: int | None = None,
        removed: str | None = None,
        sign: str | None = None,
        in_key_order: bool = False,
        questions: Questions | None = None,
        needs: str | None = None,
    ) -> None:
        self._step, self._place, self._keys, self._columns = step, place, keys, dict(columns)
        self._rows, self._state, self._numbers = rows, state, numbers
        self._encode_key, self._dead, self._now_ms = encode_key, dead, now_ms
        self._removed, self._sign, self._in_key_order = removed, sign, in_key_order
        self._every, self._questions, self._needs = every, questions, needs
        self._held: dict[bytes, tuple[int, bytes]] | None = None
        self.release = False
        self.time = NO_TIME

    def take(self, rounds: Iterable[Round], now: int) -> Batch | None:
        """Return what a commit has changed as a batch; None where nothing is to be told. `now` is the stream time."""
        changed: Round = {}
        for rows in rounds:
            changed.update(rows)
        number = self._state.get_many(self._numbers, [_NEXT], uncommitted=True)[0]
        if number is None:
            changed = {**dict(self._known()), **changed}
        before = {} if number is None else self._before(list(changed))
        told = self._told(changed, before) if self._every is None else self._limited(changed, before, now)
        first = 0 if number is None else int.from_bytes(number, "big")
        if told or number is None:
            self._state.stage(self._numbers, [_NEXT], [(first + len(told)).to_bytes(8, "big")])
        return self._batch(told, first) if told else None

    @property
    def is_holding(self) -> bool:
        """Whether changes wait for their time."""
        return bool(self._waiting())

    def _limited(self, changed: Round, before: Mapping[bytes, bytes], now: int) -> list[Told]:
        """Hold changes back until their time has come, or until `release`; each with the row that was told last."""
        assert self._every is not None
        held = self._waiting()
        due = (now // self._every + 1) * self._every
        fresh = {key: (due, before.get(key, b"")) for key in changed if key not in held}
        held.update(fresh)
        ready = [key for key, (when, _) in held.items() if self.release or when <= now]
        told = {key: old for key in ready if (old := held.pop(key)[1])}
        waits = {key: held[key] for key in fresh if key in held}
        rows = [when.to_bytes(8, "big", signed=True) + old for when, old in waits.values()]
        self._state.stage(self._numbers, [_HELD + key for key in waits], rows)
        gone = [key for key in ready if key not in fresh]
        self._state.stage(self._numbers, [_HELD + key for key in gone], [None] * len(gone))
        found = self._state.get_many(self._place.topic, ready, uncommitted=True)
        rows_now = dict(self._rows.visible((k, s) for k, s in zip(ready, found, strict=True) if s is not None))
        return self._told({key: rows_now.get(key) for key in ready}, told)

    def _waiting(self) -> dict[bytes, tuple[int, bytes]]:
        """Return what is held back: of each row when it is due, and what was told of it last, empty for nothing."""
        if self._held is None:
            rows = self._state.scan(self._numbers, _HELD, _HELD + b"\xff\xff", uncommitted=True)
            split = len(_HELD)
            self._held = {k[split:]: (int.from_bytes(v[:8], "big", signed=True), v[8:]) for k, v in rows}
        return self._held

    def _known(self) -> Iterator[tuple[bytes, bytes]]:
        place = self._place.topic
        return self._rows.visible(self._state.scan(place, b"", b"\xff\xff", uncommitted=False))

    def _before(self, keys: list[bytes]) -> dict[bytes, bytes]:
        """Return the rows of keys as the last commit left them."""
        if not keys:
            return {}
        found = self._state.get_many(self._place.topic, keys)
        return dict(self._rows.visible((k, s) for k, s in zip(keys, found, strict=True) if s is not None))

    def _told(self, changed: Round, before: Mapping[bytes, bytes]) -> list[Told]:
        told = []
        for key, state in changed.items():
            old = before.get(key)
            if state == old:
                continue  # also a row that came and went unseen
            time = max(_time(s) for s in (old, state) if s is not None)
            if old is not None and (self._sign is not None or (state is None and self._removed is not None)):
                told.append(Told(-1, key, old, time))
            if state is not None:
                told.append(Told(1, key, state, time))
        # Of the two rows of a key the one that goes comes first: they are neighbours, and sorting keeps them so.
        return sorted(told, key=lambda row: (b"" if self._in_key_order else _ordered(row.time), row.key))

    def _batch(self, told: list[Told], first: int) -> Batch | None:
        values = self._values(told)
        if self._needs is not None:
            kept = [i for i, row in enumerate(values) if row[self._needs] is not None]
            told, values = [told[i] for i in kept], [values[i] for i in kept]
        series = _series(values, self._columns)
        records = self._records(told, values, first)
        if series is None:
            told, values, records = self._refuse(told, values, records)
            series = _series(values, self._columns)
        if not told or series is None:
            return None
        times = np.array([row.time for row in told], dtype=np.int64)
        marks = np.full(len(told), self.time, dtype=np.int64)
        meta = meta_columns(times, marks, self._place.partition, list(records.offsets))
        return Batch(records, None, times, marks, pl.DataFrame([*series, *meta]))

    def _values(self, told: list[Told]) -> list[Row]:
        rows = self._rows.rows([(row.key, row.state) for row in told])
        if self._removed is not None:
            names = [name for name in self._columns if name != self._removed]
            gone = {row.key: self._rows.key(row.key) for row in told if row.sign < 0}
            rows = [
                {**({n: gone[row.key].get(n) for n in names} if row.sign < 0 else found), self._removed: row.sign < 0}
                for row, found in zip(told, rows, strict=True)
            ]
        if self._questions is not None:
            rows = self._questions(rows, [row.key for row in told], [row.state for row in told])
        if self._sign is not None:
            rows = [{**found, self._sign: row.sign} for row, found in zip(told, rows, strict=True)]
        return rows

    def _records(self, told: list[Told], rows: list[Row], first: int) -> Records:
        now = self._now_ms()
        return Records(
            tp=self._place,
            offsets=list(range(first, first + len(told))),
            timestamps=[now if row.time == NO_TIME else row.time // 1000 for row in told],
            keys=[self._message_key(row) for row in rows],
            values=[row.state for row in told],
            headers=None,
            next_offset=first + len(told),
        )

    def _message_key(self, row: Row) -> bytes | None:
        parts = tuple(row[name] for name in self._keys)
        return self._encode_key(parts[0] if len(parts) == 1 else parts)

    def _refuse(self, told: list[Told], rows: list[Row], records: Records) -> tuple[list[Told], list[Row], Records]:
        """Refuse the rows with a value that no column holds (an integer beyond 64 bits); return the others."""
        kept = []
        for place, row in enumerate(rows):
            wrong = [n for n, dtype in self._columns.items() if _series([row], {n: dtype}) is None]
            if wrong:
                reason = f"{wrong[0]}={row[wrong[0]]!r} is no {self._columns[wrong[0]]}"
                self._dead.refuse(self._step, records, place, reason)
            else:
                kept.append(place)
        return [told[i] for i in kept], [rows[i] for i in kept], records.take(kept)


def _series(rows: list[Row], columns: Mapping[str, Any]) -> list[pl.Series] | None:
    """Turn rows into columns; None where a value does not fit."""
    try:
        return [pl.Series(n, [row[n] for row in rows], dtype=t) for n, t in columns.items()]
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return None


def _time(state: bytes) -> int:
    """Return the largest event time of a row: the first element of its state."""
    return int(_first(state)[0])


def _ordered(time: int) -> bytes:
    return (time + (1 << 63)).to_bytes(8, "big")
