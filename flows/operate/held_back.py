"""Changes of a table that are held back: of each row at most one in each stretch of stream time, the last.

Stretches are counted from the epoch. What changed in one is due once stream time has passed its end, with the row as it
is then: before the first record of the next stretch is taken, where the table's step says when that is (`telling`), so
that what is told does not depend on commits. Held rows lie in the state, their key behind `held`: when the row is due,
and what was told of it last.
"""

from __future__ import annotations

from collections.abc import Iterable

from flows.operate.tables import Round, TableRows, TaskTables

_HELD = b"held"

Released = tuple[Round, dict[bytes, bytes]]
"""Rows as they are now, and what was told of them last."""


class HeldBack:
    """The changes of one table in one task that wait. `every` is the length of a stretch, in microseconds.

    `is_followed` says that the table's step notes all changes, and when a stretch is over.
    """

    def __init__(self, table: str, numbers: str, every: int, rows: TableRows, state: TaskTables) -> None:
        self._table, self._numbers, self.every = table, numbers, every
        self._rows, self._state = rows, state
        self.is_followed = False
        self._stretch: int | None = None
        self._held: dict[bytes, tuple[int, bytes]] | None = None
        self._moved: dict[bytes, None] = {}
        self._told: Round = {}
        self._released: list[Released] = []

    def begin(self, time: int) -> None:
        """Learn the stream time that was committed, where nothing came since."""
        if self._stretch is None:
            self._stretch = time // self.every

    def turns_at(self, now: int) -> bool:
        """Tell whether a stream time is in a later stretch."""
        assert self._stretch is not None
        return now // self.every > self._stretch

    def note(self, rows: Iterable[bytes]) -> None:
        """Learn which rows have changed in this stretch."""
        assert self._stretch is not None
        held = self._waiting()
        fresh = [key for key in rows if key not in held]
        if not fresh:
            return
        committed = self._visible(fresh, uncommitted=False)
        due = (self._stretch + 1) * self.every
        for key in fresh:
            old = self._told[key] if key in self._told else committed.get(key)
            held[key] = due, old or b""
            self._moved[key] = None

    def turn(self, now: int) -> None:
        """Release what is due at a stream time, as it is now."""
        if self.turns_at(now):
            self._stretch = now // self.every
            self._release([key for key, (due, _) in self._waiting().items() if due <= now])

    def take(self, known: Round, changed: Round, time: int, now: int, *, release: bool) -> list[Released]:
        """Return what is to be told with a commit, and bring what waits into the state.

        `known` are rows that were there before, of which nothing was told; `changed` those of the commit. `time` is the
        stream time of the last commit, `now` that of this one.
        """
        self.begin(time)
        self.turn(now)
        self.note(known if self.is_followed else {**known, **changed})
        if release:
            self._release(list(self._waiting()))
        moved, held = list(self._moved), self._waiting()
        rows = [held[k][0].to_bytes(8, "big", signed=True) + held[k][1] if k in held else None for k in moved]
        self._state.stage(self._numbers, [_HELD + key for key in moved], rows)
        found, self._released = self._released, []
        self._moved, self._told = {}, {}
        return found

    @property
    def is_holding(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting())

    def _release(self, keys: list[bytes]) -> None:
        if not keys:
            return
        held = self._waiting()
        before = {key: old for key in keys if (old := held.pop(key)[1])}
        found = self._visible(keys, uncommitted=True)
        rows: Round = {key: found.get(key) for key in keys}
        self._told.update(rows)
        self._moved.update(dict.fromkeys(keys))
        self._released.append((rows, before))

    def _visible(self, keys: list[bytes], *, uncommitted: bool) -> dict[bytes, bytes]:
        found = self._state.get_many(self._table, keys, uncommitted=uncommitted)
        return dict(self._rows.visible((k, s) for k, s in zip(keys, found, strict=True) if s is not None))

    def _waiting(self) -> dict[bytes, tuple[int, bytes]]:
        if self._held is None:
            rows = self._state.scan(self._numbers, _HELD, _HELD + b"\xff\xff", uncommitted=True)
            split = len(_HELD)
            self._held = {k[split:]: (int.from_bytes(v[:8], "big", signed=True), v[8:]) for k, v in rows}
        return self._held
