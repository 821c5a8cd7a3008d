"""What a join in a window keeps: the records of both sides, and when each is done with.

Three tables in the task's store. Those of the sides hold a row per record, under `[key][event time][partition]
[offset][number]`, so that the records of a key in a span of time are one scan; the number tells rows apart that one
record became. The third, under `[last time that counts][side][row's key]`, has them in the order in which their windows
close. A row's first byte tells whether it still waits for its other half.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any, NamedTuple

import msgspec

from flows.operate.base import NO_TIME
from flows.operate.tables import TaskTables

WAITS, MATCHED = b"w", b"m"
_STATE = b"\x00"
"""Key, before all ends, of what else a join must remember."""

_SIGN = 1 << 63
_LAST = (0xFFFE << 48) - 1
"""Behind all event times; a key of the store must not begin with ff ff."""
_PLACE = struct.Struct(">QIQH")
_END = struct.Struct(">QB")
_pack = msgspec.msgpack.Encoder().encode
_memory = msgspec.msgpack.Decoder(tuple[int, int, int]).decode


class Place(NamedTuple):
    """Where a record came from: what tells records of one key and time apart, in the order that ties go by."""

    partition: int
    offset: int
    number: int


class Kept(NamedTuple):
    """A record that a join keeps; `key` is that of its row."""

    key: bytes
    time: int
    waits: bool
    row: tuple[Any, ...]

    @property
    def group(self) -> bytes:
        """The key that the record was joined by."""
        return self.key[: -_PLACE.size]


class JoinRows:
    """The rows of one join in one task; `decoders` read the columns of each side."""

    def __init__(
        self,
        tables: tuple[str, str, str],
        state: TaskTables,
        decoders: tuple[Callable[[bytes], tuple[Any, ...]], Callable[[bytes], tuple[Any, ...]]],
    ) -> None:
        self._sides, self._ends, self._state, self._decoders = tables[:2], tables[2], state, decoders
        self._heap: list[tuple[int, int, bytes]] = []
        self._read_to = -_SIGN

    def remembered(self) -> tuple[int, int, int]:
        """Return what `remember` kept."""
        (found,) = self._state.get_many(self._ends, [_STATE], uncommitted=True)
        return (0, NO_TIME, NO_TIME) if found is None else _memory(found)

    def remember(self, number: int, floor: int, silence: int) -> None:
        """Keep the number of the next row that is made, and how far time has come while inputs were idle."""
        self._state.stage(self._ends, [_STATE], [_pack((number, floor, silence))])

    def put(self, side: int, key: bytes, time: int, place: Place, row: tuple[Any, ...], end: int, waits: bool) -> None:
        """Keep a record until its end has passed."""
        name = key + _PLACE.pack(_sortable(time), *place)
        self._state.stage(self._sides[side], [name], [(WAITS if waits else MATCHED) + _pack(row)])
        self._state.stage(self._ends, [_END.pack(_sortable(end), side) + name], [b"\x01"])
        if end < self._read_to:
            heappush(self._heap, (end, side, name))

    def within(self, side: int, key: bytes, first: int, last: int) -> Iterator[Kept]:
        """Iterate over the records of a key from one event time to another, both included, in the order of time."""
        start, end = (key + _PLACE.pack(_sortable(t), 0, 0, 0) for t in (first, last + 1))
        for name, value in list(self._state.scan(self._sides[side], start, end, uncommitted=True)):
            yield self._kept(side, name, value)

    def matched(self, side: int, found: Kept) -> None:
        """Note that a record waits no longer."""
        self._state.stage(self._sides[side], [found.key], [MATCHED + _pack(found.row)])

    def ended(self, bound: int) -> Iterator[tuple[int, int, Kept]]:
        """Remove the records whose end lies below a time and return them, in the order of their ends, with side."""
        self._read(bound)
        while self._heap and self._heap[0][0] < bound:
            end, side, name = heappop(self._heap)
            (value,) = self._state.get_many(self._sides[side], [name], uncommitted=True)
            self._state.stage(self._sides[side], [name], [None])
            self._state.stage(self._ends, [_END.pack(_sortable(end), side) + name], [None])
            if value is not None:
                yield end, side, self._kept(side, name, value)

    def earliest_end(self, bound: int) -> int | None:
        """Return the earliest end below a time, None where there is none."""
        self._read(bound)
        return self._heap[0][0] if self._heap and self._heap[0][0] < bound else None

    def are_some(self) -> bool:
        """Tell whether any record is kept."""
        return next(iter(self._state.scan(self._ends, _STATE + b"\x00", b"\xff", uncommitted=True)), None) is not None

    def _read(self, bound: int) -> None:
        """Bring the ends below a time that were not read yet into memory."""
        if bound <= self._read_to:
            return
        start, end = (_END.pack(_sortable(t), 0) for t in (self._read_to, bound))
        for name, _ in self._state.scan(self._ends, start, end, uncommitted=True):
            time, side = _END.unpack_from(name)
            heappush(self._heap, (time - _SIGN, side, name[_END.size :]))
        self._read_to = bound

    def _kept(self, side: int, name: bytes, value: bytes) -> Kept:
        time = _PLACE.unpack_from(name, len(name) - _PLACE.size)[0] - _SIGN
        return Kept(name, time, value[:1] == WAITS, self._decoders[side](value[1:]))


def _sortable(time: int) -> int:
    return min(max(time + _SIGN, 0), _LAST)
