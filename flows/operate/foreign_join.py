"""Joins of tables by a column of the left one that is the right one's key, as Kafka Streams' KIP-213 has them.

The task of a left row asks the task of its right row, with a hash of the left row. That keeps who asked, and answers at
once and whenever the right row changes. An answer counts only where the hash is that of the left row as it is now: what
was asked for an older form of the row comes too late to matter, in whatever order tasks work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
import polars as pl

from flows.brokers.base import Records, TopicPartition
from flows.operate.base import NO_TIME, PARTITION, Batch, FrameStep, meta_columns
from flows.operate.table_join import join_states
from flows.operate.tables import Changed, KeyEncoder, Round, TableRows, TaskTables, WithoutClosing

KEY, HASH, HOME, ROW_STATE = "$key", "$hash", "$home", "$state"
"""Columns of questions and answers: the left row's stored key and hash, its partition, and the right row's state."""

_encode = msgspec.msgpack.Encoder().encode
_asked = msgspec.msgpack.Decoder(tuple[int, bytes]).decode


def hash_of(state: bytes) -> bytes:
    """Return what stands for a row's state in questions and answers."""
    return blake2b(state, digest_size=12).digest()


class Questions:
    """Who asked for the rows of a table in one task, and the answers to them.

    Rows of `asked` lie under `[right key][left key]`: the left row's partition and hash.
    """

    def __init__(
        self,
        asked: str,
        right: str,
        on: str,
        sign: str,
        place: TopicPartition,
        *,
        encoder: KeyEncoder,
        rows: TableRows,
        state: TaskTables,
    ) -> None:
        self._asked, self._right, self._columns = asked, right, (on, KEY, HASH, sign, PARTITION)
        self._place, self._encoder, self._rows, self._state = place, encoder, rows, state
        self._new: dict[tuple[bytes, bytes], tuple[int, bytes] | None] = {}
        self._changed: dict[bytes, None] = {}

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Take questions, and the word that one is asked no longer."""
        values, *columns = (frame[name].to_list() for name in self._columns)
        rights = self._encoder.encode_columns([values])
        for right, left, digest, sign, home in zip(rights, *columns, strict=True):
            self._new[right, left] = (home, digest) if sign > 0 else None

    def learn(self, changed: Iterable[Round]) -> None:
        """Learn of right rows that the commit has changed."""
        for rows in changed:
            self._changed.update(dict.fromkeys(rows))

    @property
    def waiting(self) -> int:
        """The questions that wait for the commit."""
        return len(self._new)

    def answer(self, then: FrameStep, watermark: int) -> None:
        """Keep what was asked (step 2 of the commit) and pass on the answers."""
        new, self._new = self._new, {}
        changed, self._changed = self._changed, {}
        rows = {right + left: None if q is None else _encode(q) for (right, left), q in new.items()}
        self._state.stage(self._asked, list(rows), list(rows.values()))
        asked = {place: question for place, question in new.items() if question is not None}
        for right in changed:
            for key, row in self._state.scan(self._asked, right, right + b"\xff", uncommitted=True):
                asked[right, key[len(right) :]] = _asked(row)
        if asked:
            frame, batch = self._answers(asked, watermark)
            then(frame, batch)

    def _answers(
        self, asked: dict[tuple[bytes, bytes], tuple[int, bytes]], watermark: int
    ) -> tuple[pl.DataFrame, Batch]:
        rights = list(dict.fromkeys(right for right, _ in asked))
        found = self._state.get_many(self._right, rights, uncommitted=True)
        states = dict(self._rows.visible((k, s) for k, s in zip(rights, found, strict=True) if s is not None))
        lefts = [left for _, left in asked]
        columns = [
            pl.Series(KEY, lefts, dtype=pl.Binary),
            pl.Series(HOME, [home for home, _ in asked.values()], dtype=pl.Int64),
            pl.Series(HASH, [digest for _, digest in asked.values()], dtype=pl.Binary),
            pl.Series(ROW_STATE, [states.get(right) for right, _ in asked], dtype=pl.Binary),
        ]
        count = len(asked)
        times, marks = np.full(count, NO_TIME), np.full(count, watermark)
        frame = pl.DataFrame([*columns, *meta_columns(times, marks, self._place.partition, range(count))])
        records = Records(
            tp=self._place,
            offsets=list(range(count)),
            timestamps=[0] * count,
            keys=lefts,
            values=columns[-1].to_list(),
            headers=None,
            next_offset=count,
        )
        return frame, Batch(records, None, times, marks, frame)


class ForeignJoin(WithoutClosing):
    """The joined rows of one task's left rows; see `TableStep`. With `is_inner` none lacks its other half."""

    def __init__(
        self,
        table: str,
        left: str,
        on: str,
        is_inner: bool,
        *,
        rows: TableRows,
        state: TaskTables,
        changed: Changed,
    ) -> None:
        self.table, self._left, self._on, self._is_inner = table, left, on, is_inner
        self._rows, self._state, self._tell = rows, state, changed
        self._changed: dict[bytes, None] = {}
        self._answers: dict[bytes, list[tuple[bytes, bytes | None]]] = {}
        self.floor = NO_TIME

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Take answers."""
        columns = (frame[name].to_list() for name in (KEY, HASH, ROW_STATE))
        for key, digest, state in zip(*columns, strict=True):
            self._answers.setdefault(key, []).append((digest, state))

    def take(self, changed: Iterable[Round], gone: Iterable[Round]) -> None:
        """Learn of left rows that the commit has changed."""
        for rows in changed:
            self._changed.update(dict.fromkeys(rows))

    @property
    def waiting(self) -> int:
        """The rows that wait for the commit."""
        return len(self._answers)

    def flush(self, watermark: int) -> None:
        """Join what was answered; drop what is there no longer, or refers to nothing (step 2 of the commit)."""
        answers, self._answers = self._answers, {}
        changed, self._changed = self._changed, {}
        keys = list({**changed, **dict.fromkeys(answers)})
        if not keys:
            return
        found = self._state.get_many(self._left, keys, uncommitted=True)
        lefts = dict(self._rows.visible((k, s) for k, s in zip(keys, found, strict=True) if s is not None))
        pointing = dict(zip(lefts, self._rows.rows(list(lefts.items())), strict=True))
        told: Round = {}
        for key, before in zip(keys, self._state.get_many(self.table, keys, uncommitted=True), strict=True):
            left, state = lefts.get(key), before
            if left is None:
                state = None
            elif pointing[key][self._on] is None:
                state = None if self._is_inner else join_states(left, None)
            else:
                for digest, right in answers.get(key, ()):
                    if digest == hash_of(left):
                        state = None if right is None and self._is_inner else join_states(left, right)
            if state != before:
                told[key] = state
        if told:
            self._state.stage(self.table, list(told), list(told.values()))
            self._tell(list(told), list(told.values()))


def questions_of(rows: Sequence[Any], keys: Sequence[bytes], states: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return rows with what a question has of them: stored key and hash."""
    return [{**row, KEY: k, HASH: hash_of(s)} for row, k, s in zip(rows, keys, states, strict=True)]
