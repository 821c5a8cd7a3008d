"""What changes in a table, as batches of rows: one a commit, for the steps behind the table.

Of a row that changes several times within a commit only the last is told, as Kafka Streams does with its cache, unless
each change is wanted: then the table's step says what each record made (`telling`). Each row told has a number, counted
from the task's first and kept in its state: it stands for the offset that records have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from flows.brokers.base import Records, TopicPartition
from flows.operate.base import NO_TIME, Batch, DeadLetters, meta_columns
from flows.operate.held_back import HeldBack
from flows.operate.tables import Round, TableRows, TaskTables

Row = dict[str, Any]

_NEXT = b"next"
_first = msgspec.msgpack.Decoder(list[Any]).decode


Questions = Callable[[Sequence[Any], Sequence[bytes], Sequence[bytes]], list[dict[str, Any]]]
"""Adds to rows what stands for them where they are joined elsewhere, from their stored keys and states."""


Heard = tuple[bytes, bytes | None, int]
"""A change as a record made it: stored key and state, None for a removed row, and the stream time as of the record."""


class Told(NamedTuple):
    """One row to pass on: with the state that it has, or had if `sign` is -1, and the time of the change.

    `mark` is the stream time as of the change, where it is that of one record.
    """

    sign: int
    key: bytes
    state: bytes
    time: int
    mark: int | None = None


class TableChanges:
    """The changes of one table in one task.

    `columns` are those of the stream, with their types. `removed` names the column that tells removals, `sign` the one
    for rows that are to be subtracted or added; without either only new rows are told. `in_key_order` says that rows
    come in the order of their stored keys, else they come in the order of their times. Where the steps behind the
    table are new, all rows that it has come first. With `held` a row is told at most once in each stretch of stream
    time, unless `release` says that nothing is to wait. With `each` all changes are told, as `hear` learns of them.
    `time` is a stream time: no row behind it is still to come. `questions` adds the columns of a question, of rows
    whose column `needs` is not null.
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
        held: HeldBack | None = None,
        each: bool = False,
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
        self.held, self._questions, self._needs = held, questions, needs
        self._each, self._heard = each, list[Heard]()
        self.release = False
        self.time = NO_TIME

    def take(self, rounds: Iterable[Round], now: int) -> Batch | None:
        """Return what a commit has changed as a batch; None where nothing is to be told. `now` is the stream time."""
        changed: Round = {}
        for rows in rounds:
            changed.update(rows)
        number = self._state.get_many(self._numbers, [_NEXT], uncommitted=True)[0]
        known: Round = dict(self._known()) if number is None else {}
        if self._each:
            told = [*self._told(dict(known), {}), *self._each_told()]
        elif self.held is not None:
            released = self.held.take(known, changed, self.time, now, release=self.release)
            told = [row for rows, before in released for row in self._told(rows, before)]
        else:
            told = self._told({**known, **changed}, {} if known else self._before(list(changed)))
        first = 0 if number is None else int.from_bytes(number, "big")
        if told or number is None:
            self._state.stage(self._numbers, [_NEXT], [(first + len(told)).to_bytes(8, "big")])
        return self._batch(told, first) if told else None

    @property
    def is_holding(self) -> bool:
        """Whether changes wait for their time."""
        return self.held is not None and self.held.is_holding

    def hear(self, changes: list[Heard]) -> None:
        """Learn of changes, one after the other."""
        self._heard += changes

    @property
    def waiting(self) -> int:
        """The changes that wait to be told."""
        return len(self._heard)

    def _each_told(self) -> Iterator[Told]:
        heard, self._heard = self._heard, []
        before = self._before(list({key for key, _, _ in heard})) if self._removed is not None else {}
        for key, state, mark in heard:
            if state is not None:
                yield Told(1, key, state, _time(state), mark)
                before[key] = state
            elif (old := before.pop(key, None)) is not None:
                yield Told(-1, key, old, _time(old), mark)

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
        marks = np.array([self.time if row.mark is None else row.mark for row in told], dtype=np.int64)
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
