"""Folds: accumulators that a person's function changes, record by record, in the order of the partition.

Between batch and commit a group has the numbers of its records (given by `FoldRows`, ascending as they come) and no
accumulator yet: the function runs at the commit, on the stored accumulator. So the result does not depend on where a
batch or a commit ended, and asks nothing of the function but that it keeps nothing between calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import polars as pl

from dsl.fold import Fold
from flows.errors import FlowsError
from flows.operate.aggregates.cell import Cell, Groups
from flows.operate.aggregates.items import GROUP, flatten, gathered
from flows.operate.base import ROW, Batch, DeadLetters, FrameStep

FOLDED = "$fold"
"""The column with the numbers of the records."""

_encode = msgspec.msgpack.Encoder().encode


class RowObjects(Protocol):
    """Row objects of a frame."""

    def objects(self, frame: pl.DataFrame, batch: Batch) -> list[Any]: ...


class _Held(NamedTuple):
    value: Any
    batch: Batch
    row: int


class FoldRows:
    """The records that wait for the commit, by number."""

    def __init__(self, step: str, rows: RowObjects, dead: DeadLetters) -> None:
        self._step, self._rows, self._dead = step, rows, dead
        self._held: list[_Held] = []
        self._first = 0
        self._refused: set[int] = set()

    def number(self, frame: pl.DataFrame, batch: Batch) -> pl.DataFrame:
        """Keep the rows of a frame, and add their numbers to it."""
        start = self._first + len(self._held)
        values = zip(self._rows.objects(frame, batch), frame[ROW].to_list(), strict=True)
        self._held.extend(_Held(value, batch, row) for value, row in values)
        return frame.with_columns(pl.Series(FOLDED, np.arange(start, start + frame.height)))

    def value(self, number: int) -> Any:
        return self._held[number - self._first].value

    def refuse(self, number: int, reason: str) -> None:
        """Refuse the record of a row, once."""
        if number not in self._refused:
            self._refused.add(number)
            held = self._held[number - self._first]
            self._dead.refuse(self._step, held.batch.records, held.row, reason)

    def clear(self) -> None:
        """Forget all rows: they are in the accumulators now."""
        self._first += len(self._held)
        self._held.clear()
        self._refused.clear()


def numbered_step(rows: FoldRows, then: FrameStep) -> FrameStep:
    """Number the rows before they are grouped."""
    return lambda frame, batch: then(rows.number(frame, batch), batch)


class Folded(Cell):
    """Field: the encoded accumulator. Gathered: accumulators to merge, oldest first, and then records to fold."""

    needs_groups = True

    def __init__(self, slot: str, name: str, fold: Fold | None, rows: FoldRows | None) -> None:
        super().__init__(slot)
        self._name, self._fold, self._rows = name, fold, rows
        self._decode = msgspec.msgpack.Decoder(Any if fold is None else fold.type).decode
        self._states, self._numbers = slot + "_states", slot + "_numbers"
        self.fields = ((slot, pl.Binary),)

    def settle_values(self, groups: Groups) -> list[pl.Series]:
        rows, lengths = groups.rows
        owners = np.repeat(np.arange(groups.count), lengths)
        return [self._no_states(groups.count), self._lists(groups.frame[FOLDED][rows], owners, groups.count)]

    def settle_states(self, groups: Groups) -> list[pl.Series]:
        names = [self._states, self._numbers]
        states, numbers = (flatten(groups.frame, [name], groups.of_row) for name in names)
        states = states.sort(GROUP, maintain_order=True)
        numbers = numbers.sort(GROUP, self._numbers)
        return [gathered(items, [name], groups.count)[0] for items, name in zip((states, numbers), names, strict=True)]

    def load(self, fields: pl.DataFrame) -> list[pl.Series]:
        rows = np.arange(fields.height)
        none = pl.Series([], dtype=pl.Int64)
        items = pl.DataFrame([pl.Series(GROUP, rows), fields[self.slot].alias(self._states)])
        return [gathered(items, [self._states], fields.height)[0], self._lists(none, rows[:0], fields.height)]

    def unload(self, gathered: pl.DataFrame) -> list[pl.Series]:
        return [self._folded([None] * gathered.height, gathered)]

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        return [self._folded(stored[self.slot].to_list(), gathered)]

    def result(self, fields: pl.DataFrame) -> pl.Series:
        """Return the accumulators of each row."""
        return pl.Series([self._decode(state) for state in fields[self.slot].to_list()], dtype=pl.Object)

    def _folded(self, stored: Sequence[bytes | None], gathered: pl.DataFrame) -> pl.Series:
        states, numbers = gathered[self._states].to_list(), gathered[self._numbers].to_list()
        rows = zip(stored, states, numbers, strict=True)
        done = [self._steps(self._merged([*filter(None, (old,)), *more]), new) for old, more, new in rows]
        return pl.Series(self.slot, done, dtype=pl.Binary)

    def _merged(self, states: list[bytes]) -> bytes:
        assert self._fold is not None
        if not states:
            return _encode(self._fold.start())
        if len(states) > 1 and self._fold.merge is None:
            raise FlowsError(f"{self._name}=fold(...) has two accumulators to merge", fix="give it merge=")
        merged = states[0]
        for state in states[1:]:
            assert self._fold.merge is not None
            merged = self._checked(self._fold.merge(self._decode(merged), self._decode(state)))
        return merged

    def _steps(self, state: bytes, numbers: list[int]) -> bytes:
        """Fold records into an accumulator; where one fails, again with the state saved before each."""
        if not numbers:
            return state
        assert self._fold is not None
        assert self._rows is not None
        step: Callable[[Any, Any], Any] = self._fold.step
        try:
            accumulator = self._decode(state)
            for number in numbers:
                accumulator = step(accumulator, self._rows.value(number))
            return self._checked(accumulator)
        except Exception:  # noqa: BLE001  (the person's function may raise anything; told below)
            for number in numbers:
                try:
                    state = self._checked(step(self._decode(state), self._rows.value(number)))
                except Exception as error:  # noqa: BLE001
                    self._rows.refuse(number, f"{self._name}: {type(error).__name__}: {error}")
            return state

    def _checked(self, accumulator: Any) -> bytes:
        state = _encode(accumulator)
        self._decode(state)
        return state

    def _no_states(self, count: int) -> pl.Series:
        return pl.Series(self._states, [[]] * count, dtype=pl.List(pl.Binary))

    def _lists(self, numbers: pl.Series, owners: np.ndarray[Any, np.dtype[np.int64]], count: int) -> pl.Series:
        items = pl.DataFrame([pl.Series(GROUP, owners), numbers.alias(self._numbers)])
        return gathered(items, [self._numbers], count)[0]
