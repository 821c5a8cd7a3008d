"""Tables: declared ones, kept by the engine, and dictionary tables, written by agents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from dsl.changes import Regrouped, changes_of, rows_of
from dsl.checks import check_sink
from dsl.context import TableAccess, current
from dsl.durations import Duration
from dsl.plan.nodes import SinkNode
from dsl.plan.types import Schema
from dsl.table_join import foreign_join, table_join
from dsl.window import AnyWindow, FixedWindow

if TYPE_CHECKING:
    from dsl.app import App
    from dsl.stream import Stream
    from dsl.topic import Topic
    from dsl.windowed import WindowedTable

_MISSING = object()
_current = current.get


class Table:
    """A declared table: read-only, one row per key and window; columns as in `schema`."""

    def __init__(
        self,
        app: App,
        name: str,
        schema: Schema,
        keys: tuple[str, ...],
        window: AnyWindow | None,
        placed_by: str | None = None,
    ) -> None:
        self.app, self.name, self.schema, self.keys, self.window = app, name, schema, keys, window
        self._placed_by = placed_by

    def __repr__(self) -> str:
        return f"<Table {self.name}>"

    def __getitem__(self, key: Any) -> Any:
        raise RuntimeError(
            f"declared table {self.name!r} cannot be read inside an agent: keep what the agent needs in app.table(...)"
        )

    def to(self, topic: Topic) -> Table:
        """Write the table's changes to a topic: rows as values, the group's key as key.

        >>> topic = app.topic("flights_by_carrier")
        >>> flights = departures.group_by("carrier").agg(n=count()).table("flights").to(topic)
        >>> with app.test() as t:
        ...     for _ in range(2):
        ...         t.send(departures, Departure("UA", "JFK"))
        ...     [r.value for r in t.output(topic)]
        [{'carrier': 'UA', 'n': 1}, {'carrier': 'UA', 'n': 2}]
        """
        target = self.app._own_topic(topic, f"{self.name}.to")
        check_sink(f"{self.name}.to({target})", self.schema, topic.value_type, topic.node.key)
        self.app._add(SinkNode(id=self.app._new_step(f"{self.name}.to"), input=self.name, topic=target))
        return self

    def changes(self, *, removals: bool = False, emit: str = "change", emit_every: Duration | None = None) -> Stream:
        """Return the table's changed rows as a stream: at each commit the rows that it changed, as they are then.

        With `emit="every"` each change comes, one for each record that counts in a row, in the order of the records:
        the same, however commits fell. It costs more, most where many records of one key follow each other.

        With `removals` rows that went come too, with the column `removed` true and null aggregates; else they do not.
        What a table forgets by its retention is not removed. A row's event time is the largest that it has seen.
        With `emit_every` a row comes at most once in each such stretch of stream time; see the method of that name.

        >>> flights = departures.group_by("carrier").agg(n=count()).table("flights")
        >>> tenth = flights.changes(emit="every").filter(col("n") % 10 == 0)
        >>> with app.test() as t, t.batch():
        ...     for _ in range(25):
        ...         t.send(departures, Departure("UA", "JFK"))
        >>> [r.value for r in t.output(tenth)]
        [{'carrier': 'UA', 'n': 10}, {'carrier': 'UA', 'n': 20}]
        """
        return changes_of(self, removals=removals, emit=emit, emit_every=emit_every)

    def emit_every(self, duration: Duration) -> Stream:
        """Return the table's changes, of each row at most one in each stretch of stream time: the last.

        Stretches are counted from the epoch. What changed in one comes when stream time has passed its end, as the row
        was at that end, or when all inputs are silent.

        >>> told = departures.group_by("carrier").agg(n=count()).table("flights").emit_every("1m")
        >>> with app.test() as t:
        ...     for at in (1.0, 2.0, 59.0, 60.0):
        ...         t.send(departures, Departure("UA", "JFK", at=at))
        ...     [r.value["n"] for r in t.output(told)]
        [3]
        """
        return self.changes(emit_every=duration)

    def group_by(self, *keys: str, partitions: int | None = None) -> Regrouped:
        """Group the table's rows, as they are now, by one or more of its columns.

        When a row changes, what it was is subtracted from its group and what it is added to its group; so
        `agg` takes `count sum mean var std` only. A group without rows is no row of the table.

        >>> routes = departures.group_by("carrier", "origin").agg(n=count()).table("routes")
        >>> carriers = routes.group_by("carrier").agg(origins=count(), flights=sum("n")).table("carriers")
        >>> with app.test() as t:
        ...     for origin in ("JFK", "JFK", "LGA"):
        ...         t.send(departures, Departure("UA", origin))
        ...     t.table(carriers).rows()
        [{'carrier': 'UA', 'origins': 2, 'flights': 3}]
        """
        return Regrouped(self, rows_of(self).group_by(*keys, partitions=partitions))

    def join(
        self,
        other: Table,
        on: str | None = None,
        *,
        how: str = "inner",
        prefix: str = "",
        suffix: str = "",
        name: str | None = None,
    ) -> Table:
        """Join with another table of the same key: a table of the rows of both, side by side, as both are now.

        With `on`, a column of this table, the other's row is the one whose key is in it (inner and left only): where
        that is another task's, it is asked for and answered through internal topics, as in Kafka Streams' KIP-213.

        With `how="inner"` a row is there while both sides have it, with `"left"` while the left one has it, with
        `"outer"` while one of them does. The key is that of the left side; `prefix` and `suffix` rename columns of the
        right that have a namesake on the left. `name` is the table's (default: both names).

        >>> flights = departures.group_by("carrier").agg(n=count()).table("flights")
        >>> late = departures.filter(col("delay") > 60).group_by("carrier").agg(late=count()).table("late")
        >>> both = flights.join(late, how="left")
        >>> with app.test() as t:
        ...     for carrier, delay in (("UA", 90.0), ("UA", 5.0), ("DL", 0.0)):
        ...         t.send(departures, Departure(carrier, "JFK", delay))
        ...     [tuple(row.values()) for row in t.table(both).rows()]
        [('DL', 1, None), ('UA', 2, 1)]
        """
        if on is not None:
            return foreign_join(self, other, on, how, prefix, suffix, name)
        return table_join(self, other, how, prefix, suffix, name)

    @property
    def late(self) -> Topic:
        """The topic of records that came too late for one or all of their windows, with why in the headers."""
        return self.app._late_topic(self.name)


class AgentTable:
    """A table that agents write: each task holds the keys of its partition."""

    def __init__(self, app: App, name: str, key: Any, value: Any, default: Callable[[], Any] | None) -> None:
        self.app, self.name, self.key_type, self.value_type, self.default = app, name, key, value, default

    def _here(self) -> TableAccess:
        found = current.get(None)
        if found is None:
            raise RuntimeError(
                f"table {self.name!r} can be used inside agents and timers only; "
                "from outside, read it by `flows query` or the web API"
            )
        try:
            return found.tables[self.name]
        except KeyError:
            raise RuntimeError(
                f"table {self.name!r} is not at hand in this agent: Flows did not see it used there, "
                f"so name it in the declaration, @app.agent(..., tables=[{self.name}])"
            ) from None


class DictTable(AgentTable):
    """A dictionary that agents write: each task holds the keys of its partition.

    Reading a missing key gives `default()` without storing it (KeyError where there is no default). Values may be
    changed in place: what was handed out is compared when the record is done, and a change counts as a write.
    """

    def __repr__(self) -> str:
        return f"<DictTable {self.name}>"

    def tumbling(self, size: Duration, *, expires: Duration | None = None) -> WindowedTable:
        """Keep a value of each key for each window `[start, end)` of event time, of one `size`.

        `expires` is how long after its end a window is kept, by event time; None keeps it for ever.

        >>> import flows
        >>> views = flows.App("site").table("views", value=int, default=int).tumbling("1m", expires="1h")
        >>> views
        <WindowedTable views, tumbling(1m)>
        """
        from dsl.window import tumbling

        return self._in_windows(tumbling(size, retention=expires))

    def hopping(self, size: Duration, step: Duration, *, expires: Duration | None = None) -> WindowedTable:
        """Keep a value of each key for each window of one `size`, one beginning each `step`; else as `tumbling`."""
        from dsl.window import hopping

        return self._in_windows(hopping(size, step, retention=expires))

    def _in_windows(self, window: AnyWindow) -> WindowedTable:
        from dsl.windowed import WindowedTable

        def made(fixed: FixedWindow) -> WindowedTable:
            return WindowedTable(self.app, self.name, self.key_type, self.value_type, self.default, fixed)

        return self.app._with_windows(self, window, made)

    # The two that run for every record go to the task's table directly; `_here` explains what is wrong where they fail.

    def __getitem__(self, key: Any) -> Any:
        try:
            table = _current().tables[self.name]
        except LookupError:
            table = self._here()
        return table.get(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        try:
            table = _current().tables[self.name]
        except LookupError:
            table = self._here()
        table.set(key, value)

    def __delitem__(self, key: Any) -> None:
        self._here().delete(key)

    def __contains__(self, key: object) -> bool:
        return self.get(key, _MISSING) is not _MISSING

    def __len__(self) -> int:
        """Count the partition's keys, by going through them all."""
        return sum(1 for _ in self._here().items())

    def __iter__(self) -> Iterator[Any]:
        return (k for k, _ in self._here().items())

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key, or `default` (not the table's) where there is none."""
        return self._here().peek(key, default)

    def pop(self, key: Any, default: Any = _MISSING) -> Any:
        """Remove a key and return its value."""
        value = self.get(key, _MISSING)
        if value is _MISSING:
            if default is _MISSING:
                raise KeyError(key)
            return default
        self._here().delete(key)
        return value

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key, storing `default` first where there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, other: Any = (), **more: Any) -> None:
        """Store all items of a mapping or of pairs."""
        for key, value in dict(other, **more).items():
            self[key] = value

    def clear(self) -> None:
        """Remove all keys of the partition."""
        for key in list(self.keys()):
            del self[key]

    def keys(self) -> Iterator[Any]:
        """Iterate over the partition's keys, in key order."""
        return iter(self)

    def values(self) -> Iterator[Any]:
        """Iterate over the partition's values, in key order."""
        return (v for _, v in self._here().items())

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Iterate over the partition's items, in key order."""
        return self._here().items()
