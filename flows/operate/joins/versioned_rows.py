"""The versions of a table's rows, so that it can be asked what it was at a time and at a turn.

They lie in a table under `[key][event time][partition][offset]`, a removal being an empty one.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence

from flows.operate.tables import TaskTables

_SIGN = 1 << 63
_VERSION = struct.Struct(">QIQ")
_FIRST = (0, 0)
_TOP = b"\xff" * _VERSION.size

Put = tuple[bytes, int, tuple[int, int], bytes | None, int, int]
"""A key, its event time, partition and offset, the row (None for a removal), the stream time and the turn."""

Versions = list[tuple[int, int, int, int, bytes]]
"""Of a key, in order: event time, partition and offset, when it came (counted in turns), and the row, if any."""


class VersionedRows:
    """The versions of a table's rows, as of each turn.

    Up to about `most` of them, and of keys that were asked for, are held in memory between rounds.
    """

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
            self._count += 1 + len(found)
        return found


def _version(key: bytes, time: int, origin: tuple[int, int]) -> bytes:
    return key + _VERSION.pack(max(time + _SIGN, 0), *origin)
