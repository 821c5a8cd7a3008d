"""Dictionary tables with windows: a key has a value for each window, and event time says which is meant."""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from dsl.checks import key_type, type_of_value
from dsl.context import TableAccess, runtime
from dsl.durations import Duration, microseconds
from dsl.errors import DeclarationError
from dsl.plan.nodes import TableNode
from dsl.plan.types import DataType, Field, Kind, Schema
from dsl.table import AgentTable
from dsl.window import AnyWindow, FixedWindow

if TYPE_CHECKING:
    from dsl.app import App

_SECOND = 1_000_000
_MISSING = object()


class WindowedTable(AgentTable):
    """A dictionary table whose `t[k]` stands for the windows of a key; made by `.tumbling(…)` or `.hopping(…)`.

    Writing goes to every window that holds the time of the record in hand, reading to the newest of them. The
    `relative_to_…` methods return the same table with another choice of that time.
    """

    def __init__(
        self, app: App, name: str, key: Any, value: Any, default: Callable[[], Any] | None, window: FixedWindow
    ) -> None:
        super().__init__(app, name, key, value, default)
        self.window = window
        self._relative: Callable[[Any], int] = self._time_of_event

    def __repr__(self) -> str:
        return f"<WindowedTable {self.name}, {self.window.shape}>"

    # Which time is meant

    def relative_to_stream(self) -> WindowedTable:
        """Go by the event time of the record in hand; the default."""
        return self._going_by(self._time_of_event)

    def relative_to_now(self) -> WindowedTable:
        """Go by the wall clock at the moment of the call."""
        return self._going_by(lambda event: self._time_now())

    def relative_to_field(self, field: Any) -> WindowedTable:
        """Go by a field of the value in hand: its name, or the field itself (`Account.created`).

        It holds seconds since the epoch, a datetime or its ISO text.
        """
        name = field if isinstance(field, str) else getattr(field, "__name__", None)
        if not isinstance(name, str):
            raise DeclarationError(f"table {self.name!r}: relative_to_field takes the name of a field, not {field!r}.")
        return self._going_by(lambda event: self._time_of_field(name, event))

    def relative_to(self, time: float | dt.datetime) -> WindowedTable:
        """Go by one moment: seconds since the epoch, or a datetime."""
        fixed = as_microseconds(time)
        if fixed is None:
            raise DeclarationError(f"table {self.name!r}: relative_to takes seconds or a datetime, not {time!r}.")
        return self._going_by(lambda event: fixed)

    def _going_by(self, relative: Callable[[Any], int]) -> WindowedTable:
        table = WindowedTable(self.app, self.name, self.key_type, self.value_type, self.default, self.window)
        table._relative = relative
        return table

    # What a dictionary has

    def __getitem__(self, key: Any) -> WindowSet:
        return WindowSet(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        # `t[k] += 1` ends here with the set that has just been changed.
        if not isinstance(value, WindowSet):
            table = self._here()
            for start in self.window.starts(self._relative(None)):
                table.set((start, key), value)

    def __delitem__(self, key: Any) -> None:
        """Remove the key from every window that holds the time; raises KeyError where none has it."""
        table = self._here()
        found = [s for s in self.window.starts(self._relative(None)) if table.peek((s, key), _MISSING) is not _MISSING]
        if not found:
            raise KeyError(key)
        for start in found:
            table.delete((start, key))

    def __contains__(self, key: object) -> bool:
        return self._here().peek((self.newest(self._relative(None)), key), _MISSING) is not _MISSING

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def __len__(self) -> int:
        """Count the keys of the window that is read."""
        return sum(1 for _ in self.keys())

    def keys(self) -> WindowedView:
        """Iterate over the keys in the newest window of the table's time; `.now()` and so on choose others."""
        return WindowedView(self, lambda key, value: key)

    def values(self) -> WindowedView:
        """Iterate over the values of a window, as `keys` does."""
        return WindowedView(self, lambda key, value: value)

    def items(self) -> WindowedView:
        """Iterate over the keys and values of a window, as `keys` does."""
        return WindowedView(self, lambda key, value: (key, value))

    def windows(self) -> Iterator[tuple[tuple[Any, tuple[float, float]], Any]]:
        """Iterate over all that is kept in the partition: ((key, (start, end)), value), in order of time."""
        for (start, key), value in self._here().items():
            yield (key, self._range(start)), value

    # What `WindowSet` and the views ask

    def newest(self, time: int) -> int:
        """Return the start of the newest window that holds a time; both in microseconds."""
        return (time - self.window.offset) // self.window.step * self.window.step + self.window.offset

    def start_of(self, window: tuple[float, float]) -> int:
        """Return the start of a window given by its bounds in seconds. Raises ValueError where there is no such one."""
        start, end = (round(bound * _SECOND) for bound in window)
        if self.newest(start) != start or end - start != self.window.size:
            raise ValueError(f"table {self.name!r} has no window {window!r}: its windows are {self.window.shape}")
        return start

    def _range(self, start: int) -> tuple[float, float]:
        return start / _SECOND, (start + self.window.size) / _SECOND

    def _time_now(self) -> int:
        return round(runtime(f"table {self.name!r}").now() * _SECOND)

    def _time_of_event(self, event: Any = None) -> int:
        if event is None:
            time, _ = runtime(f"table {self.name!r}").in_hand()
        else:
            time = event.timestamp
        if time is None:
            raise ValueError(f"table {self.name!r} has windows of event time, but there is no record with one in hand")
        return round(time * _SECOND)

    def _time_of_field(self, field: str, event: Any) -> int:
        value = runtime(f"table {self.name!r}").in_hand()[1] if event is None else event.value
        found = value.get(field) if isinstance(value, dict) else getattr(value, field, None)
        time = as_microseconds(found)
        if time is None:
            raise ValueError(f"table {self.name!r}: field {field!r} of the record in hand is no time: {found!r}")
        return time


class WindowSet:
    """The windows of one key. `t[k] += 1` changes each that holds the record in hand."""

    __slots__ = ("_event", "_table", "key")

    def __init__(self, table: WindowedTable, key: Any, event: Any = None) -> None:
        self._table, self.key, self._event = table, key, event

    def __repr__(self) -> str:
        return f"<WindowSet {self.key!r} of {self._table.name}>"

    def value(self, event: Any = None) -> Any:
        """Return the value in the newest window of the table's time: its `relative_to_…`."""
        return self._at(self._table._relative(event or self._event))

    def now(self) -> Any:
        """Return the value in the newest window of the wall clock's time."""
        return self._at(self._table._time_now())

    def current(self, event: Any = None) -> Any:
        """Return the value in the newest window of the event time in hand, or of another event."""
        return self._at(self._table._time_of_event(event or self._event))

    def delta(self, ago: Duration, event: Any = None) -> Any:
        """Return the value in the newest window of the moment so long before the table's time."""
        return self._at(self._table._relative(event or self._event) - microseconds(ago, "delta"))

    def apply(self, op: Callable[[Any, Any], Any], value: Any, event: Any = None) -> WindowSet:
        """Set the key to `op(old, value)` in each window of the table's time."""
        table = self._access()
        for start in self._table.window.starts(self._table._relative(event or self._event)):
            table.set((start, self.key), op(table.get((start, self.key)), value))
        return self

    def _at(self, time: int) -> Any:
        return self._get(self._table.newest(time))

    def _get(self, start: int) -> Any:
        try:
            return self._access().get((start, self.key))
        except KeyError:
            raise KeyError(self.key) from None

    def _access(self) -> TableAccess:
        return self._table._here()

    def __getitem__(self, at: Any) -> Any:
        """Return the value in a window `(start, end)`, or with an event the set of the windows that hold it."""
        if isinstance(at, tuple):
            return self._get(self._table.start_of(at))
        return WindowSet(self._table, self.key, at)

    def __setitem__(self, window: tuple[float, float], value: Any) -> None:
        # `t[k][event] += 1` ends here with the set that has just been changed.
        if not isinstance(value, WindowSet):
            self._access().set((self._table.start_of(window), self.key), value)

    def __delitem__(self, window: tuple[float, float]) -> None:
        self._access().delete((self._table.start_of(window), self.key))

    def __iadd__(self, other: Any) -> WindowSet:
        return self.apply(operator.add, other)

    def __isub__(self, other: Any) -> WindowSet:
        return self.apply(operator.sub, other)

    def __imul__(self, other: Any) -> WindowSet:
        return self.apply(operator.mul, other)

    def __itruediv__(self, other: Any) -> WindowSet:
        return self.apply(operator.truediv, other)

    def __ifloordiv__(self, other: Any) -> WindowSet:
        return self.apply(operator.floordiv, other)

    def __imod__(self, other: Any) -> WindowSet:
        return self.apply(operator.mod, other)

    def __ipow__(self, other: Any) -> WindowSet:
        return self.apply(operator.pow, other)

    def __ior__(self, other: Any) -> WindowSet:
        return self.apply(operator.or_, other)

    def __iand__(self, other: Any) -> WindowSet:
        return self.apply(operator.and_, other)

    def __ixor__(self, other: Any) -> WindowSet:
        return self.apply(operator.xor, other)


class WindowedView:
    """The keys, values or items of one window: by default the newest of the table's time."""

    def __init__(self, table: WindowedTable, pick: Callable[[Any, Any], Any]) -> None:
        self._table, self._pick = table, pick

    def __iter__(self) -> Iterator[Any]:
        return self._at(self._table._relative(None))

    def now(self) -> Iterator[Any]:
        """Iterate over the newest window of the wall clock's time."""
        return self._at(self._table._time_now())

    def current(self, event: Any = None) -> Iterator[Any]:
        """Iterate over the newest window of the event time in hand, or of another event."""
        return self._at(self._table._time_of_event(event))

    def delta(self, ago: Duration, event: Any = None) -> Iterator[Any]:
        """Iterate over the newest window of the moment so long before the table's time."""
        return self._at(self._table._relative(event) - microseconds(ago, "delta"))

    def _at(self, time: int) -> Iterator[Any]:
        for (_, key), value in self._table._here().members(self._table.newest(time)):
            yield self._pick(key, value)


def as_microseconds(time: Any) -> int | None:
    if isinstance(time, str):
        try:
            time = msgspec.convert(time, dt.datetime)
        except msgspec.ValidationError:
            return None
    if isinstance(time, dt.datetime):
        aware = time if time.tzinfo is not None else time.replace(tzinfo=dt.UTC)
        return (aware - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    return round(time * _SECOND) if isinstance(time, int | float) and not isinstance(time, bool) else None


def dictionary_schema(name: str, key: Any, value: Any, window: FixedWindow | None = None) -> Schema:
    """Return the columns that a dictionary table shows."""
    bounds = () if window is None else tuple(Field(c, DataType(Kind.FLOAT)) for c in window.columns)
    return Schema((Field("key", key_type(name, key)), *bounds, Field("value", type_of_value(value))), name)


def dictionary_window(node: TableNode, window: AnyWindow) -> FixedWindow:
    """Check that a dictionary table can have these windows; raises `DeclarationError`."""
    if node.window is not None:
        raise DeclarationError(f"table {node.table!r} has windows already: {node.window.shape}.")
    if not isinstance(window, FixedWindow):
        raise DeclarationError(f"table {node.table!r}: a dictionary's windows have one length, not {window.shape}.")
    if node.on_close and window.retention is None:
        raise DeclarationError(
            f"table {node.table!r}: on_window_close is called when a window expires: say when, {window.shape[:-1]}, "
            'expires="1h"); expires=0 is at its end.'
        )
    return window
