"""Groups of a stream on the way to a table: keyed, perhaps cut into windows, aggregated, named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsl.aggregate import Aggregate
from dsl.changes import SIGNED, add_rows, check_changes
from dsl.errors import DeclarationError, declaration_place
from dsl.plan.exprs import columns_of
from dsl.plan.nodes import AggregateNode, ClockNode, RepartitionNode, fold_id
from dsl.plan.types import DataType, Field, Kind, Schema
from dsl.window import AnyWindow, SessionWindow, SlidingWindow

if TYPE_CHECKING:
    from dsl.stream import Stream
    from dsl.table import Table


class Grouped:
    """A stream with a key to aggregate by."""

    def __init__(self, stream: Stream, keys: tuple[str, ...], partitions: int | None) -> None:
        self.stream, self.keys, self.partitions = stream, keys, partitions

    def window(self, window: AnyWindow) -> Windowed:
        """Cut each group into windows of event time.

        >>> hourly = departures.group_by("carrier").window(tumbling("1h")).agg(n=count()).table("hourly")
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK", at=4000.0))
        ...     t.table(hourly).rows()
        [{'carrier': 'UA', 'window_start': 3600.0, 'window_end': 7200.0, 'n': 1}]
        """
        if not isinstance(window, AnyWindow):
            raise DeclarationError(f'window() takes a window, such as tumbling("1h") or session("9m"), not {window!r}.')
        return Windowed(self, window)

    def agg(self, **aggregates: Aggregate) -> Aggregated:
        """Keep aggregates of each group, over all time.

        >>> delays = departures.group_by("carrier").agg(n=count(), worst=max("delay")).table("delays")
        >>> with app.test() as t:
        ...     for delay in (5.0, 90.0):
        ...         t.send(departures, Departure("UA", "JFK", delay))
        ...     t.table(delays).rows()
        [{'carrier': 'UA', 'n': 2, 'worst': 90.0}]
        """
        return Aggregated(self, None, aggregates)


class Windowed:
    """Groups cut into windows."""

    def __init__(self, grouped: Grouped, window: AnyWindow) -> None:
        self.grouped, self.spec = grouped, window

    def agg(self, **aggregates: Aggregate) -> Aggregated:
        """Keep aggregates of each group and window."""
        return Aggregated(self.grouped, self.spec, aggregates)


class Aggregated:
    """Aggregates waiting for the name of their table."""

    def __init__(
        self,
        grouped: Grouped,
        window: AnyWindow | None,
        aggregates: dict[str, Aggregate],
        *,
        rows_of: Table | None = None,
    ) -> None:
        schema = grouped.stream.schema
        assert schema is not None
        if not aggregates:
            raise DeclarationError(f"{grouped.stream.step}.agg needs at least one aggregate: agg(events=count()).")
        taken = {*grouped.keys, *(window.columns if window else ())}
        for name, aggregate in aggregates.items():
            if not isinstance(aggregate, Aggregate):
                raise DeclarationError(
                    f"agg({name}={aggregate!r}) is no aggregate: write {name}=count(), sum(column), mean(column) …"
                )
            if name in taken or name.startswith("$"):
                raise DeclarationError(f"agg({name}=…): the table has a column {name!r} already.")
        if rows_of is None:
            check_changes(grouped.stream, window, aggregates)
        self._grouped, self._window, self._rows_of = grouped, window, rows_of
        self.place = declaration_place()
        grouped.stream.app._unnamed.append(self)
        self._calls = tuple(a.bind(n, schema) for n, a in aggregates.items())
        self._folds = {name: a.fold for name, a in aggregates.items() if a.fold is not None}
        for name, fold in self._folds.items():
            if isinstance(window, SessionWindow | SlidingWindow) and fold.merge is None:
                raise DeclarationError(
                    f"{name}=fold({fold.name}): sessions and sliding windows merge, so their accumulators must: "
                    "fold(…, merge=…)."
                )

    def table(self, name: str) -> Table:
        """Keep the aggregates as a table of this name: queried, watched, written to topics."""
        from dsl.table import Table

        grouped, stream = self._grouped, self._grouped.stream
        app, schema = stream.app, stream.schema
        assert schema is not None
        app._claim_table(name)
        app._unnamed = [other for other in app._unnamed if other is not self]
        source = stream.step if self._rows_of is None else add_rows(self._rows_of, name)
        if stream.key not in grouped.keys:
            source = self._repartition(name, source, schema)
        if self._window is not None and self._window.time == "processing":
            source = self._by_the_clock(name, source)
        types = tuple(t for k in grouped.keys if (t := schema.get(k)) is not None)
        for fold_name, fold in self._folds.items():
            app._types[fold_id(name, fold_name)] = fold
        columns = _table_schema(name, grouped.keys, schema, self._window, self._calls)
        app._add(
            AggregateNode(
                id=name,
                input=source,
                table=name,
                keys=grouped.keys,
                key_types=types,
                window=self._window,
                aggregates=self._calls,
                retracts=self._rows_of is not None,
                schema=columns,
            )
        )
        placed_by = stream.key if stream.key in grouped.keys else grouped.keys[0] if len(grouped.keys) == 1 else None
        return Table(app, name, columns, grouped.keys, self._window, placed_by)

    def _by_the_clock(self, table: str, source: str) -> str:
        app = self._grouped.stream.app
        schema = getattr(app._nodes[source], "schema", None)
        assert schema is not None
        step = app._new_step(f"{table}.clock")
        app._add(ClockNode(id=step, input=source, schema=schema))
        return step

    def _repartition(self, table: str, source: str, schema: Schema) -> str:
        grouped, app = self._grouped, self._grouped.stream.app
        used = {*grouped.keys}.union(*(columns_of(expr) for call in self._calls for expr in call.arguments))
        if self._folds:
            used.update(schema.names)
        signs = () if self._rows_of is None else (SIGNED,)
        step = app._new_step(f"{table}.group_by")
        app._add(
            RepartitionNode(
                id=step,
                input=source,
                topic=f"{app.id}-{table}-repartition",
                keys=grouped.keys,
                partitions=grouped.partitions or app._partitions_before(source),
                schema=Schema((*(f for f in schema if f.name in used), *signs), schema.owner),
            )
        )
        return step


def _table_schema(
    name: str, keys: tuple[str, ...], schema: Schema, window: AnyWindow | None, calls: tuple[Any, ...]
) -> Schema:
    fields = [Field(k, t) for k in keys if (t := schema.get(k)) is not None]
    kinds = {"window_number": Kind.INT}
    fields += [Field(c, DataType(kinds.get(c, Kind.FLOAT))) for c in (window.columns if window else ())]
    return Schema((*fields, *(Field(c.name, c.result) for c in calls)), name)
