"""Tables whose keys have two parts, the first of which is a range of the store: a window's start and the key in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from flows.errors import AgentError
from flows.operate.dict_table import CommittedRows, DictTableState, KeyBytes, KeyCheck


class GroupedKeyBytes(KeyBytes, Protocol):
    """The canonical key bytes of a table whose keys are pairs."""

    def range_of(self, group: Any) -> tuple[bytes, bytes | None]:
        """Return the byte range of all keys with this first part."""


class RowRanges(CommittedRows, Protocol):
    """Committed rows of which whole ranges can go."""

    def stage_range_delete(self, table: str, start: bytes, end: bytes, keys: Sequence[bytes] | None) -> object: ...


class ByGroup(dict[Any, None]):
    """The changed keys, also by their first part; that may name more than have changed."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: dict[Any, dict[Any, None]] = {}

    def __setitem__(self, key: Any, value: None) -> None:
        super().__setitem__(key, value)
        self.groups.setdefault(key[0], {})[key] = None


class GroupedTableState(DictTableState):
    """A dictionary table with keys of two parts in one task, shared by the agents there."""

    _codec: GroupedKeyBytes
    dirty: ByGroup

    def __init__(self, *args: Any, **parts: Any) -> None:
        super().__init__(*args, **parts)
        self.dirty = ByGroup()

    def members(self, group: Any, touched: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Iterate over the rows of one first part, in key order; `touched` keys may be new."""
        rows = dict(self._rows.scan(self.name, *self._codec.range_of(group), uncommitted=True))
        return self._merged(rows, (*self.dirty.groups.get(group, ()), *(key for key in touched if key[0] == group)))


class SetTableState(GroupedTableState):
    """A set table: its keys are (key, element), its values say nothing."""

    def __init__(self, name: str, key_type: Any, element_type: Any, **parts: Any) -> None:
        super().__init__(name, key_type, bool, None, **parts)
        self._checked_element = KeyCheck(name, element_type, "element")

    def _proper(self, key: Any) -> Any:
        return self._checked(key[0]), self._checked_element(key[1])


class WindowedTableState(GroupedTableState):
    """A dictionary table with windows: its keys are (start of the window in microseconds, key).

    Windows that begin before `open_from` have expired: nothing is written there any more.
    """

    _rows: RowRanges

    def __init__(self, *args: Any, forgotten: Callable[[list[bytes], Sequence[None]], None], **parts: Any) -> None:
        super().__init__(*args, **parts)
        self._forgotten = forgotten
        self.open_from = -(1 << 62)

    def _proper(self, key: Any) -> Any:
        if not isinstance(key, tuple) or len(key) != 2 or not isinstance(key[0], int):
            raise AgentError(
                f"table {self.name!r} has windows, and key {key!r} names none",
                fix="use what .tumbling(…) or .hopping(…) returned",
            )
        return key[0], self._checked(key[1])

    def start_of(self, key: Any) -> int:
        """Return the start of a key's window."""
        return int(key[0])

    def is_closed(self, key: Any) -> bool:
        return self.start_of(key) < self.open_from

    def has_row(self, first: bytes, last: bytes) -> bool:
        """Tell whether there is a row in a range, as far as the changed keys have been staged."""
        return next(iter(self._rows.scan(self.name, first, last, uncommitted=True)), None) is not None

    def between(self, first: bytes, last: bytes) -> list[tuple[bytes, bytes]]:
        """Return the rows of a range, with what is not committed yet; between two records only."""
        self.flush()
        return list(self._rows.scan(self.name, first, last, uncommitted=True))

    def drop(self, first: bytes, last: bytes, keys: list[bytes]) -> None:
        """Remove the rows of a range, which has these keys."""
        self._rows.stage_range_delete(self.name, first, last, keys)
        self._forgotten(keys, [None] * len(keys))
        for key in keys:
            self.forget(self._codec.decode(key))
            self.bytes_of.pop(self._codec.decode(key), None)

    def row(self, key: bytes, value: bytes) -> tuple[tuple[int, Any], Any]:
        """Return a row's window start, key and value."""
        return self._codec.decode(key), self._decode(value)


class WindowedSetState(WindowedTableState):
    """A set table with windows: its keys are ((start of the window, key), element), its values say nothing."""

    def __init__(self, name: str, key_type: Any, element_type: Any, **parts: Any) -> None:
        super().__init__(name, key_type, bool, None, **parts)
        self._checked_element = KeyCheck(name, element_type, "element")

    def _proper(self, key: Any) -> Any:
        (start, rest), element = key
        return (start, self._checked(rest)), self._checked_element(element)

    def start_of(self, key: Any) -> int:
        return int(key[0][0])

    def members(self, group: Any, touched: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Iterate over a key's elements in a window, or over all of a window where `group` is its start alone."""
        if not isinstance(group, int):
            return super().members(group, touched)
        rows = dict(self._rows.scan(self.name, *self._codec.range_of(group), uncommitted=True))
        return self._merged(rows, (key for key in (*self.dirty, *touched) if self.start_of(key) == group))
