"""Set tables with windows: a key has a set for each window, kept element by element."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self, cast

from dsl.durations import Duration, microseconds
from dsl.sets import SetInTable, SetTable
from dsl.windowed import WindowedTable, WindowedView

if TYPE_CHECKING:
    from dsl.app import App
    from dsl.window import FixedWindow

_MISSING = object()


class WindowedSetTable(WindowedTable):
    """A set table whose `t[k]` stands for the windows of a key; made by `.tumbling(…)` or `.hopping(…)`.

    Adding and removing go to every window that holds the time of the record in hand, reading to the newest of them. A
    key is in a window while its set there has an element. The `relative_to_…` methods choose another time.
    """

    def __init__(self, app: App, name: str, key: Any, value: Any, window: FixedWindow) -> None:
        super().__init__(app, name, key, value, None, window)

    def __repr__(self) -> str:
        return f"<WindowedSetTable {self.name}, {self.window.shape}>"

    def _going_by(self, relative: Callable[[Any], int]) -> WindowedSetTable:
        table = WindowedSetTable(self.app, self.name, self.key_type, self.value_type, self.window)
        table._relative = relative
        return table

    def __getitem__(self, key: Any) -> SetInWindows:  # type: ignore[override]
        return SetInWindows(self, key)

    def __setitem__(self, key: Any, elements: Iterable[Any]) -> None:
        """Replace a key's set in every window that holds the time."""
        # `t[k] |= more` ends here with the set that has just been changed.
        if not (isinstance(elements, SetInWindows) and elements.is_of(self, key)):
            wanted = set(elements)
            self[key].clear()
            self[key].update(wanted)

    def __delitem__(self, key: Any) -> None:
        """Remove a key's set from every window that holds the time; raises KeyError where the newest has none."""
        if key not in self:
            raise KeyError(key)
        self[key].clear()

    def __contains__(self, key: object) -> bool:
        return any(True for _ in self[key])

    def keys(self) -> SetsOfWindow:
        """Iterate over the keys in the newest window of the table's time; `.now()` and so on choose others."""
        return SetsOfWindow(self, lambda key, elements: key)

    def values(self) -> SetsOfWindow:
        """Iterate over the sets of a window, as `keys` does; they are copies."""
        return SetsOfWindow(self, lambda key, elements: elements)

    def items(self) -> SetsOfWindow:
        """Iterate over the keys and sets of a window, as `keys` does; the sets are copies."""
        return SetsOfWindow(self, lambda key, elements: (key, elements))

    def windows(self) -> Iterator[tuple[tuple[Any, tuple[float, float]], set[Any]]]:
        """Iterate over all that is kept in the partition: ((key, (start, end)), set), in order of time."""
        rows = (row for row, _ in self._here().items())
        for (start, key), some in groupby(rows, lambda row: row[0]):
            yield (key, self._range(start)), {element for _, element in some}

    def _sets_at(self, time: int) -> Iterator[tuple[Any, set[Any]]]:
        rows = (row for row, _ in self._here().members(self.newest(time)))
        for (_, key), some in groupby(rows, lambda row: row[0]):
            yield key, {element for _, element in some}


class SetInWindows(SetInTable):
    """The set of one key in its windows: what a `set` does. It reads the newest window and changes all that count."""

    _table: WindowedSetTable  # type: ignore[assignment]

    def __init__(self, table: WindowedSetTable, key: Any) -> None:
        super().__init__(cast(SetTable, table), key)

    # What these return is frozen: an element added to a copy would be lost without a word.

    def value(self, event: Any = None) -> frozenset[Any]:
        """Return the set in the newest window of the table's time: its `relative_to_…`."""
        return self._at(self._table._relative(event))

    def now(self) -> frozenset[Any]:
        """Return the set in the newest window of the wall clock's time."""
        return self._at(self._table._time_now())

    def current(self, event: Any = None) -> frozenset[Any]:
        """Return the set in the newest window of the event time in hand, or of another event."""
        return self._at(self._table._time_of_event(event))

    def delta(self, ago: Duration, event: Any = None) -> frozenset[Any]:
        """Return the set in the newest window of the moment so long before the table's time."""
        return self._at(self._table._relative(event) - microseconds(ago, "delta"))

    def _at(self, time: int) -> frozenset[Any]:
        return frozenset(self._elements(self._table.newest(time)))

    def _elements(self, start: int) -> Iterator[Any]:
        return (element for (_, element), _ in self._table._here().members((start, self._key)))

    @property
    def _starts(self) -> Iterable[int]:
        return self._table.window.starts(self._table._relative(None))

    @property
    def _newest(self) -> int:
        return self._table.newest(self._table._relative(None))

    def _is_in(self, start: int, element: Any) -> bool:
        return self._table._here().peek(((start, self._key), element), _MISSING) is not _MISSING

    def __contains__(self, element: object) -> bool:
        return self._is_in(self._newest, element)

    def __iter__(self) -> Iterator[Any]:
        return self._elements(self._newest)

    def add(self, element: Any) -> None:
        """Add an element to every window that holds the time; where it is already it costs no write."""
        for start in self._starts:
            self._put(start, element, True)

    def discard(self, element: Any) -> None:
        """Remove an element from every window that holds the time and has it."""
        for start in self._starts:
            self._put(start, element, False)

    def _put(self, start: int, element: Any, wanted: bool) -> None:
        row, table = ((start, self._key), element), self._table._here()
        if wanted == self._is_in(start, element):
            return
        if wanted:
            table.set(row, True)
        else:
            table.delete(row)

    def clear(self) -> None:
        """Remove all elements from every window that holds the time."""
        for element in self._in_any():
            self.discard(element)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep, in every window that holds the time, only what all others have too."""
        kept = [set(other) for other in others]
        for element in self._in_any():
            if not all(element in other for other in kept):
                self.discard(element)

    def _in_any(self) -> set[Any]:
        return {element for start in self._starts for element in self._elements(start)}

    def __iand__(self, other: Iterable[Any]) -> Self:
        self.intersection_update(other)
        return self

    def __ixor__(self, other: Set[Any]) -> Self:  # type: ignore[misc]
        wanted = set(other)
        for start in self._starts:
            here = set(self._elements(start))
            for element in wanted:
                self._put(start, element, element not in here)
        return self


class SetsOfWindow(WindowedView):
    """The keys, sets or items of one window: by default the newest of the table's time."""

    _table: WindowedSetTable

    def _at(self, time: int) -> Iterator[Any]:
        return (self._pick(key, elements) for key, elements in self._table._sets_at(time))
