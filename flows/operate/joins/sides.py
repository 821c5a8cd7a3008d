"""What a join in a window keeps: the records of both sides, and when each is done with.

Three tables in the task's store. Those of the sides hold a row per record, under `[key][event time][partition]
[offset][number]`, so that the records of a key in a span of time are one scan; the number tells apart what has the same
origin. The third, under `[last time that counts][side][row's key]`, has them in the order in which their windows close.
A row's first byte tells whether it still waits for its other half.

All that is kept is in memory too, as long as it is not too much. Then it is forgotten there, and a key's records are
read when one of it comes.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, nsmallest
from typing import Any

import msgspec

from flows.operate.base import NO_TIME
from flows.operate.tables import TaskTables

WAITS, MATCHED = b"w", b"m"
_STATE = b"\x00"
"""Key, before all ends, of what else a join must remember."""

_SIGN = 1 << 63
_LAST = (0xFFFE << 48) - 1
"""Behind all event times; a key of the store must not begin with ff ff."""
_NEVER = 1 << 64
_TOP = b"\xff\xff"

_PLACE = struct.Struct(">QIQH")
_END = struct.Struct(">QB")
_pack = msgspec.msgpack.Encoder().encode
_memory = msgspec.msgpack.Decoder(tuple[int, int, int]).decode


class Kept:
    """A record that a join keeps; `key` is that of its row. `end` is None once the task's state has row and end."""

    __slots__ = ("end", "key", "row", "time", "waits")

    def __init__(self, key: bytes, time: int, waits: bool, row: tuple[Any, ...], end: int | None = None) -> None:
        self.key, self.time, self.waits, self.row, self.end = key, time, waits, row, end

    @property
    def group(self) -> bytes:
        """The key that the record was joined by."""
        return self.key[: -_PLACE.size]


Place = tuple[int, int, int, int]
"""Event time, partition, offset and number: what tells the records of a key apart, in the order that ties go by."""

Group = list[tuple[Place, Kept]]
"""The records of a key on one side, by place."""


class JoinRows:
    """The rows of one join in one task; `decoders` read the columns of each side.

    What changes is in the state once it is `settled`. Up to about `most` records, and keys of each side that were asked
    for, are held in memory between rounds.
    """

    def __init__(
        self,
        tables: tuple[str, str, str],
        state: TaskTables,
        decoders: tuple[Callable[[bytes], tuple[Any, ...]], Callable[[bytes], tuple[Any, ...]]],
        most: int = 50_000,
    ) -> None:
        self._tables, self._ends, self._state, self._decoders = tables[:2], tables[2], state, decoders
        self._most, self._few = most, max(1, most // 2)
        self._groups: tuple[dict[bytes, Group], dict[bytes, Group]] = ({}, {})
        self._held = 0
        self._has_all = False
        # All ends before `_read_to` are in the heap.
        self._heap: list[tuple[int, int, bytes]] = []
        self._read_to = -_SIGN
        self._changed: tuple[dict[bytes, Kept | None], dict[bytes, Kept | None]] = ({}, {})
        self._passed_ends: list[bytes] = []

    def begin(self) -> tuple[int, int, int]:
        """Go on from what is stored; return what was noted."""
        self._read_on()
        if self._read_to == _NEVER:
            for side in (0, 1):
                for key, value in self._state.scan(self._tables[side], b"", _TOP, uncommitted=True):
                    self._hold(side, key, value)
            self._has_all = True
        (found,) = self._state.get_many(self._ends, [_STATE], uncommitted=True)
        return (0, NO_TIME, NO_TIME) if found is None else _memory(found)

    def note(self, number: int, floor: int, silence: int) -> None:
        """Keep the number of the next row that is made, and how far time has come while inputs were idle."""
        self._state.stage(self._ends, [_STATE], [_pack((number, floor, silence))])

    def put(
        self, side: int, group: bytes, time: int, origin: tuple[int, int], row: tuple[Any, ...], end: int, waits: bool
    ) -> None:
        """Keep a record that came from a partition and offset until its end has passed."""
        there = self._of(side, group)
        place: Place = (time, *origin, 0)
        while there and place <= there[-1][0] and _index(there, place) is not None:
            place = (*place[:3], place[3] + 1)
        key = group + _PLACE.pack(_sortable(time), *place[1:])
        kept = Kept(key, time, waits, row, end)
        if there and place < there[-1][0]:
            insort(there, (place, kept))
        else:
            there.append((place, kept))
        self._held += 1
        self._changed[side][key] = kept
        if end < self._read_to:
            heappush(self._heap, (end, side, key))

    def within(self, side: int, group: bytes, first: int, last: int) -> list[Kept]:
        """Return the records of a key from one event time to another, both included, in the order of time."""
        there = self._groups[side].get(group) if self._has_all else self._of(side, group)
        if not there:
            return []
        low, high = bisect_left(there, ((first,),)), bisect_left(there, ((last + 1,),))
        return [kept for _, kept in there[low:high]]

    def matched(self, side: int, found: Kept) -> None:
        """Note that a record waits no longer."""
        found.waits = False
        self._changed[side][found.key] = found

    @property
    def next_end(self) -> int:
        """No record ends before this time; where it is not known, what is known is earlier."""
        return self._heap[0][0] if self._heap else self._read_to

    def ended(self, bound: int) -> Iterator[tuple[int, int, Kept]]:
        """Remove the records whose end lies below a time and return them, in the order of their ends, with side."""
        while self.earliest_end(bound) is not None:
            end, side, key = heappop(self._heap)
            kept = self._removed(side, key)
            if kept is not None and kept.end is not None:
                del self._changed[side][key]
            else:
                self._changed[side][key] = None
                self._passed_ends.append(_end_name(end, side, key))
            if kept is not None:
                yield end, side, kept

    def earliest_end(self, bound: int) -> int | None:
        """Return the earliest end below a time, None where there is none."""
        while not self._heap and self._read_to < bound:
            self._read_on()
        return self._heap[0][0] if self._heap and self._heap[0][0] < bound else None

    def are_some(self) -> bool:
        """Tell whether any record is kept."""
        return self.earliest_end(_NEVER) is not None

    def settle(self) -> None:
        """Bring what has changed into the state, and hold no more than is to be held."""
        self._stage()
        if max(self._held, *map(len, self._groups)) > self._most:
            self._groups, self._held, self._has_all = ({}, {}), 0, False
        if len(self._heap) > self._most:
            first = nsmallest(self._few, self._heap)
            self._read_to = first[-1][0]
            self._heap = [row for row in first if row[0] < self._read_to]
            heapify(self._heap)

    def _stage(self) -> None:
        ends: dict[bytes, bytes | None] = dict.fromkeys(self._passed_ends)
        for side, changed in enumerate(self._changed):
            rows: list[bytes | None] = []
            for key, kept in changed.items():
                rows.append(None if kept is None else (WAITS if kept.waits else MATCHED) + _pack(kept.row))
                if kept is not None and kept.end is not None:
                    ends[_end_name(kept.end, side, key)] = b"\x01"
                    kept.end = None
            if rows:
                self._state.stage(self._tables[side], list(changed), rows)
        if ends:
            self._state.stage(self._ends, list(ends), list(ends.values()))
        self._changed, self._passed_ends = ({}, {}), []

    def _read_on(self) -> None:
        """Bring the next ends into memory."""
        self._stage()
        start = _STATE + b"\x00" if self._read_to == -_SIGN else _END.pack(_sortable(self._read_to), 0)
        last = None
        for key, _ in self._state.scan(self._ends, start, _TOP, uncommitted=True):
            sortable, side = _END.unpack_from(key)
            if len(self._heap) >= self._few and sortable != last:
                self._read_to = sortable - _SIGN
                return
            last = sortable
            heappush(self._heap, (sortable - _SIGN, side, key[_END.size :]))
        self._read_to = _NEVER

    def _of(self, side: int, group: bytes) -> Group:
        """Return all records of a key."""
        there = self._groups[side].get(group)
        if there is None:
            there = self._groups[side][group] = []
            if not self._has_all:
                start, end = group + _PLACE.pack(0, 0, 0, 0), group + b"\xff" * _PLACE.size
                for key, value in list(self._state.scan(self._tables[side], start, end, uncommitted=True)):
                    if key not in self._changed[side]:  # else it has just ended
                        self._hold(side, key, value)
        return there

    def _hold(self, side: int, key: bytes, value: bytes) -> None:
        time, *rest = _PLACE.unpack_from(key, len(key) - _PLACE.size)
        kept = self._kept(side, key, value)
        self._groups[side].setdefault(kept.group, []).append(((time - _SIGN, *rest), kept))
        self._held += 1

    def _removed(self, side: int, key: bytes) -> Kept | None:
        group = key[: -_PLACE.size]
        there = self._groups[side].get(group)
        if there is None:
            (value,) = self._state.get_many(self._tables[side], [key], uncommitted=True)
            return None if value is None else self._kept(side, key, value)
        time, *rest = _PLACE.unpack_from(key, len(key) - _PLACE.size)
        at = _index(there, (time - _SIGN, *rest))
        if at is None:
            return None
        _, kept = there.pop(at)
        self._held -= 1
        if not there:
            del self._groups[side][group]
        return kept

    def _kept(self, side: int, key: bytes, value: bytes) -> Kept:
        time = _PLACE.unpack_from(key, len(key) - _PLACE.size)[0] - _SIGN
        return Kept(key, time, value[:1] == WAITS, self._decoders[side](value[1:]))


def _index(there: Group, place: Place) -> int | None:
    """Return where the record of a place is."""
    at = bisect_left(there, (place,))
    return at if at < len(there) and there[at][0] == place else None


def _end_name(end: int, side: int, key: bytes) -> bytes:
    return _END.pack(_sortable(end), side) + key


def _sortable(time: int) -> int:
    return min(max(time + _SIGN, 0), _LAST)
