"""Set tables: a set for each key, kept element by element."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dsl.durations import Duration
from dsl.table import AgentTable

if TYPE_CHECKING:
    from dsl.app import App
    from dsl.window import AnyWindow, FixedWindow
    from dsl.windowed_sets import WindowedSetTable

_MISSING = object()


class SetTable(AgentTable):
    """A table of sets that agents write. A key is there while its set has an element.

    Adding or removing an element costs as much as setting one key of a dictionary, however large the set is.
    """

    def __init__(self, app: App, name: str, key: Any, value: Any) -> None:
        super().__init__(app, name, key, value, None)

    def __repr__(self) -> str:
        return f"<SetTable {self.name}>"

    def tumbling(self, size: Duration, *, expires: Duration | None = None) -> WindowedSetTable:
        """Keep a set of each key for each window `[start, end)` of event time, of one `size`.

        `expires` is how long after its end a window is kept, by event time; None keeps it for ever.

        >>> import flows
        >>> flows.App("site").set_table("visitors").tumbling("1h", expires="1d")
        <WindowedSetTable visitors, tumbling(1h)>
        """
        from dsl.window import tumbling

        return self._in_windows(tumbling(size, retention=expires))

    def hopping(self, size: Duration, step: Duration, *, expires: Duration | None = None) -> WindowedSetTable:
        """Keep a set of each key for each window of one `size`, one beginning each `step`; else as `tumbling`."""
        from dsl.window import hopping

        return self._in_windows(hopping(size, step, retention=expires))

    def _in_windows(self, window: AnyWindow) -> WindowedSetTable:
        from dsl.windowed_sets import WindowedSetTable

        def made(fixed: FixedWindow) -> WindowedSetTable:
            return WindowedSetTable(self.app, self.name, self.key_type, self.value_type, fixed)

        return self.app._with_windows(self, window, made)

    def __getitem__(self, key: Any) -> SetInTable:
        return SetInTable(self, key)

    def __setitem__(self, key: Any, elements: Iterable[Any]) -> None:
        """Replace a key's set."""
        # `t[k] |= more` ends here with the set that has just been changed.
        if not (isinstance(elements, SetInTable) and elements.is_of(self, key)):
            wanted = set(elements)
            self[key].clear()
            self[key].update(wanted)

    def __delitem__(self, key: Any) -> None:
        """Remove a key's set; raises KeyError where it is empty."""
        if key not in self:
            raise KeyError(key)
        self[key].clear()

    def __contains__(self, key: Any) -> bool:
        return any(True for _ in self[key])

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self.items())

    def __len__(self) -> int:
        """Count the partition's keys, by going through all elements."""
        return sum(1 for _ in self)

    def keys(self) -> Iterator[Any]:
        """Iterate over the partition's keys, in key order."""
        return iter(self)

    def values(self) -> Iterator[set[Any]]:
        """Iterate over the partition's sets, in key order."""
        return (elements for _, elements in self.items())

    def items(self) -> Iterator[tuple[Any, set[Any]]]:
        """Iterate over the partition's keys and sets, in key order; the sets are copies."""
        pairs = (pair for pair, _ in self._here().items())
        return ((key, {element for _, element in some}) for key, some in groupby(pairs, lambda pair: pair[0]))

    def clear(self) -> None:
        """Remove all keys of the partition."""
        for key in list(self):
            self[key].clear()


class SetInTable(MutableSet[Any]):
    """The set of one key: what a `set` does, with every change kept in the table. Elements come in key order."""

    def __init__(self, table: SetTable, key: Any) -> None:
        self._table, self._key = table, key

    def __repr__(self) -> str:
        return f"<set {self._key!r} of {self._table.name}>"

    def is_of(self, table: AgentTable, key: Any) -> bool:
        """Tell whether this is the set of a table's key."""
        return self._table is table and bool(self._key == key)

    @classmethod
    def _from_iterable(cls, elements: Iterable[Any]) -> set[Any]:
        # What `a | b` and its like make is no part of the table.
        return set(elements)

    def __contains__(self, element: object) -> bool:
        return self._table._here().peek((self._key, element), _MISSING) is not _MISSING

    def __iter__(self) -> Iterator[Any]:
        return (element for (_, element), _ in self._table._here().members(self._key))

    def __len__(self) -> int:
        """Count the elements, by going through them."""
        return sum(1 for _ in self)

    def add(self, element: Any) -> None:
        """Add an element; one that is there already costs no write."""
        if element not in self:
            self._table._here().set((self._key, element), True)

    def discard(self, element: Any) -> None:
        """Remove an element if it is there."""
        if element in self:
            self._table._here().delete((self._key, element))

    def clear(self) -> None:
        """Remove all elements."""
        for element in list(self):
            self.discard(element)

    def update(self, *others: Iterable[Any]) -> None:
        """Add the elements of other sets."""
        for element in _all(others):
            self.add(element)

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove the elements of other sets."""
        for element in _all(others):
            self.discard(element)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep only what all other sets have too."""
        for element in set(self).difference(self.intersection(*others)):
            self.discard(element)

    def union(self, *others: Iterable[Any]) -> set[Any]:
        """Return a new set with the elements of all."""
        return set(self).union(*others)

    def intersection(self, *others: Iterable[Any]) -> set[Any]:
        """Return a new set with what is in all."""
        return set(self).intersection(*others)

    def difference(self, *others: Iterable[Any]) -> set[Any]:
        """Return a new set with what is in none of the others."""
        return set(self).difference(*others)

    def issubset(self, other: Iterable[Any]) -> bool:
        """Tell whether another set has all elements."""
        return set(self).issubset(other)

    def issuperset(self, other: Iterable[Any]) -> bool:
        """Tell whether all elements of another are here."""
        return all(element in self for element in other)

    def copy(self) -> set[Any]:
        """Return the elements as a set of their own."""
        return set(self)


def _all(others: tuple[Iterable[Any], ...]) -> Iterator[Any]:
    return (element for other in others for element in list(other))
