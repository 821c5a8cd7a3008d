"""Tables joined by their keys: at each commit the rows that changed on either side are put side by side anew.

A row's state is a msgpack array `[time, left state or nil, right state or nil]`, time being the larger of the two, in
microseconds: what each side's row was when they met last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import msgspec
import polars as pl

from flows.operate.base import NO_TIME, TIME, Batch
from flows.operate.tables import Changed, TaskTables, WithoutClosing

_BEGUN = b"begun"
_encode = msgspec.msgpack.Encoder().encode
_first = msgspec.msgpack.Decoder(list[Any]).decode
_sides = msgspec.msgpack.Decoder(tuple[int, bytes | None, bytes | None]).decode

Round = dict[bytes, bytes | None]


class Visible(Protocol):
    """Which rows of a table readers see, and how."""

    def visible(self, entries: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]: ...

    def results(self, states: Sequence[bytes]) -> pl.DataFrame:
        """Return the columns of rows that are not in their keys."""


class TableJoin(WithoutClosing):
    """A join of two tables in one task; see `TableStep`.

    `needs` tells for each side whether a row must have it. Rows that a side forgets are forgotten here. `begun` names
    the store table that knows whether the sides' rows were looked at: what they have when the join is new comes first.
    """

    def __init__(
        self,
        table: str,
        sides: tuple[str, str],
        needs: tuple[bool, bool],
        begun: str,
        *,
        rows: tuple[Visible, Visible],
        state: TaskTables,
        changed: Changed,
        forgotten: Changed,
    ) -> None:
        self.table, self._tables, self._needs, self._begun = table, sides, needs, begun
        self._rows, self._state, self._changed, self._forgotten = rows, state, changed, forgotten
        self._waiting: dict[bytes, bool] = {}
        self.floor = NO_TIME

    def take(self, changed: Iterable[Round], gone: Iterable[Round]) -> None:
        """Learn of rows that a side changed, and of those that it forgot."""
        for rows in changed:
            for key in rows:
                self._waiting.setdefault(key, True)
        for rows in gone:
            self._waiting.update(dict.fromkeys(rows, False))

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Take nothing: a join learns from its tables."""
        raise AssertionError("a join of tables has no records")

    @property
    def waiting(self) -> int:
        """The keys that wait for the commit."""
        return len(self._waiting)

    def flush(self, watermark: int) -> None:
        """Put the changed rows side by side (step 2 of the commit)."""
        waiting, self._waiting = self._waiting, {}
        if self._state.get_many(self._begun, [_BEGUN], uncommitted=True)[0] is None:
            self._state.stage(self._begun, [_BEGUN], [b"1"])
            waiting = {**dict.fromkeys(self._all_keys(), True), **waiting}
        keys = list(waiting)
        if not keys:
            return
        stored = self._state.get_many(self.table, keys, uncommitted=True)
        left, right = (self._found(side, keys) for side in (0, 1))
        changed: Round = {}
        lost: Round = {}
        for key, before in zip(keys, stored, strict=True):
            state = self._joined(left.get(key), right.get(key)) if waiting[key] else None
            if state != before:
                (changed if waiting[key] else lost)[key] = state
        for rows, tell in ((changed, self._changed), (lost, self._forgotten)):
            if rows:
                self._state.stage(self.table, list(rows), list(rows.values()))
                tell(list(rows), list(rows.values()))

    def _all_keys(self) -> list[bytes]:
        rows = [self._state.scan(table, b"", b"\xff\xff", uncommitted=True) for table in self._tables]
        return [key for side in rows for key, _ in side]

    def _found(self, side: int, keys: list[bytes]) -> dict[bytes, bytes]:
        found = self._state.get_many(self._tables[side], keys, uncommitted=True)
        return dict(self._rows[side].visible((k, s) for k, s in zip(keys, found, strict=True) if s is not None))

    def _joined(self, left: bytes | None, right: bytes | None) -> bytes | None:
        sides = (left, right)
        if any(side is None and needed for side, needed in zip(sides, self._needs, strict=True)):
            return None
        return None if left is None and right is None else join_states(left, right)


def join_states(left: bytes | None, right: bytes | None) -> bytes:
    """Return the state of two rows side by side, one of which may be missing."""
    return _encode((max(int(_first(side)[0]) for side in (left, right) if side is not None), left, right))


class JoinedResults:
    """The columns of joined rows: those of the left side, then of the right, each with its new name."""

    def __init__(self, sides: Sequence[tuple[Visible, Sequence[tuple[str, str]]]]) -> None:
        self._sides = sides

    def results(self, states: Sequence[bytes]) -> pl.DataFrame:
        """Return the result columns by name, and `$time`."""
        rows = [_sides(state) for state in states]
        columns = []
        for place, (side, names) in enumerate(self._sides, start=1):
            there = [i for i, row in enumerate(rows) if row[place] is not None]
            if not there:
                columns += [pl.Series(new, [None] * len(rows), dtype=pl.Null) for _, new in names]
                continue
            found = side.results([rows[i][place] for i in there])  # type: ignore[misc]
            for name, new in names:
                values: list[Any] = [None] * len(rows)
                for i, value in zip(there, found[name].to_list(), strict=True):
                    values[i] = value
                columns.append(pl.Series(new, values, dtype=found[name].dtype))
        return pl.DataFrame([*columns, pl.Series(TIME, [row[0] for row in rows], dtype=pl.Int64)])
