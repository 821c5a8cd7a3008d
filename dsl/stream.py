"""Streams: the fluent way to filter, shape, group and write records. Every call adds a step to the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import msgspec

from dsl.checks import checked_keys, checked_partitions, function_name
from dsl.durations import Duration
from dsl.errors import DeclarationError
from dsl.expr import Expr, to_node
from dsl.grouped import Grouped, Windowed
from dsl.join import Joins
from dsl.plan.exprs import Column
from dsl.plan.functions import type_of, unknown_column
from dsl.plan.nodes import FilterNode, MapNode, ProjectNode
from dsl.plan.types import Field, Kind, Schema, schema_of
from dsl.window import AnyWindow

if TYPE_CHECKING:
    from dsl.app import App
    from dsl.routing import Partition, Router
    from dsl.topic import Topic


class Stream(Joins):
    """Records on their way. `schema` is None where values are no Record: such a stream only feeds agents and topics.

    `key` is the column that the records' partition was chosen by, where that is known.
    """

    def __init__(self, app: App, step: str, schema: Schema | None, key: str | None) -> None:
        self.app, self.step, self.schema, self.key = app, step, schema, key

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.step}>"

    def _columns(self, doing: str) -> Schema:
        if self.schema is None:
            raise DeclarationError(
                f"{self.step}.{doing} needs columns, but the values of {self.step} are no Record: "
                "declare the topic with value=YourRecord."
            )
        return self.schema

    def filter(self, predicate: Expr) -> Stream:
        """Keep the records for which a condition is true (neither false nor null).

        >>> late = departures.filter(col("delay") > 60)
        >>> with app.test() as t:
        ...     for delay in (5.0, 90.0, None):
        ...         t.send(departures, Departure("UA", "JFK", delay))
        ...     [r.value.delay for r in t.output(late)]
        [90.0]
        """
        return self._keep(predicate, "filter", self.app._new_step(f"{self.step}.filter"))

    def _keep(self, predicate: Expr, doing: str, step: str) -> Stream:
        schema = self._columns(f"{doing}(...)")
        if not isinstance(predicate, Expr):
            raise DeclarationError(
                f'{self.step}.{doing} takes a condition on columns, such as col("delay") > 60, not {predicate!r}.'
            )
        kind = type_of(predicate.node, schema).kind
        if kind is not Kind.BOOL:
            raise DeclarationError(
                f"{self.step}.{doing} needs a condition, but {predicate!r} is {kind.value}: compare it with something."
            )
        self.app._add(FilterNode(id=step, input=self.step, predicate=predicate.node, schema=schema))
        return Stream(self.app, step, schema, self.key)

    def select(self, *names: str, **columns: Expr | Any) -> Stream:
        """Keep only the named columns and the computed ones, in this order.

        >>> hours = departures.select("carrier", hours=col("delay") / 60)
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK", 90.0))
        ...     t.output(hours)[0].value
        {'carrier': 'UA', 'hours': 1.5}
        """
        schema = self._columns("select(...)")
        for name in names:
            if name not in schema:
                raise unknown_column(name, schema)
        exprs = {n: Column(n) for n in names} | {n: to_node(e) for n, e in columns.items()}
        if not exprs:
            raise DeclarationError(f"{self.step}.select needs at least one column.")
        fields = tuple(Field(n, type_of(e, schema)) for n, e in exprs.items())
        return self._project(tuple(exprs.items()), Schema(fields, f"{self.step}.select"), False)

    def with_columns(self, **columns: Expr | Any) -> Stream:
        """Add computed columns, or replace those of the same name.

        >>> rounded = departures.with_columns(delay=col("delay").round(), is_late=col("delay") > 60)
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK", 89.7))
        ...     t.output(rounded)[0].value
        {'carrier': 'UA', 'origin': 'JFK', 'delay': 90.0, 'at': 0.0, 'is_late': True}
        """
        schema = self._columns("with_columns(...)")
        exprs = {n: to_node(e) for n, e in columns.items()}
        if not exprs:
            raise DeclarationError(f"{self.step}.with_columns needs at least one column.")
        added = tuple(Field(n, type_of(e, schema)) for n, e in exprs.items())
        return self._project(tuple(exprs.items()), schema.with_fields(added, f"{self.step}.with_columns"), True)

    def _project(self, columns: tuple[tuple[str, Any], ...], schema: Schema, keep_rest: bool) -> Stream:
        bad = [f.name for f in schema if f.name.startswith("$")]
        if bad:
            raise DeclarationError(f'column {bad[0]!r}: names beginning with "$" are kept for Flows.')
        step = self.app._new_step(f"{self.step}.{'with_columns' if keep_rest else 'select'}")
        self.app._add(ProjectNode(id=step, input=self.step, columns=columns, keep_rest=keep_rest, schema=schema))
        computed = dict(columns)
        untouched = self.key is not None and (
            computed[self.key] == Column(self.key) if self.key in computed else keep_rest
        )
        return Stream(self.app, step, schema, self.key if untouched else None)

    def merge(self, *others: Stream) -> Stream:
        """Put streams of the same columns together.

        A task takes the records of several topics in the order of their event times, as far as they are there: the
        topics need the same number of partitions. The merged stream has a key where all topics have that key and are
        known to be partitioned alike: by one partitioner, or all `partitioned_by="murmur2"`.

        >>> arrivals = app.topic("arrivals", value=Departure, timestamp="at")
        >>> both = departures.merge(arrivals)
        >>> with app.test() as t, t.batch():
        ...     t.send(arrivals, Departure("UA", "LAX", at=20.0))
        ...     t.send(departures, Departure("UA", "JFK", at=10.0))
        >>> [r.value.origin for r in t.output(both)]
        ['JFK', 'LAX']
        """
        from dsl.shaping import add_merge

        return add_merge(self, others)

    def sample(self, rate: float | None = None, *, every: int | None = None, by: str | Iterable[str] = ()) -> Stream:
        """Keep a part of the records, always the same ones: `sample(0.01)`, or `sample(every=100)`.

        `rate` goes by a hash of the record's place, its topic, partition and offset; `every` by the offset alone. With
        `by` both go by a hash of these columns, so that all records of a user, say, are kept or none.

        >>> some = departures.sample(every=10)
        >>> with app.test() as t:
        ...     for at in range(25):
        ...         t.send(departures, Departure("UA", "JFK", at=float(at)))
        ...     [r.value.at for r in t.output(some)]
        [0.0, 10.0, 20.0]
        """
        from dsl.shaping import add_sample

        return add_sample(self, rate, every, by)

    def dedupe(self, *by: str, within: Duration, name: str | None = None) -> Stream:
        """Keep the first record of each key: others with an event time less than `within` from it are left out.

        The records must be partitioned by one of the columns: `by` has the topic's key among them. What was kept is
        remembered in the task's state, named `name` (default: the step's id), until time has passed it by twice
        `within`. A record that is `within` or more behind the stream time cannot be told from a repetition: it goes to
        the dead letters, as does one without a key or time.

        >>> once = departures.dedupe("origin", "carrier", within="1h")
        >>> with app.test() as t:
        ...     for at in (0.0, 60.0, 3600.0):
        ...         t.send(departures, Departure("UA", "JFK", at=at))
        ...     [r.value.at for r in t.output(once)]
        [0.0, 3600.0]
        """
        from dsl.shaping import add_dedupe

        return add_dedupe(self, by, within, name)

    def map(self, function: Callable[[Any], Any], *, returns: type[msgspec.Struct] | None = None) -> Stream:
        """Call a Python function for each record; it returns a Record, or None to drop the record.

        The Record class is taken from `returns` or from the function's return annotation. The stream counts as
        unkeyed afterwards: `group_by` repartitions.

        >>> def to_the_hour(departure) -> Departure | None:
        ...     return None if departure.delay is None else Departure(departure.carrier, "NYC", departure.delay)
        >>> hourly = departures.map(to_the_hour)
        >>> with app.test() as t:
        ...     for delay in (None, 5.0):
        ...         t.send(departures, Departure("UA", "JFK", delay))
        ...     [r.value for r in t.output(hourly)]
        [Departure(carrier='UA', origin='NYC', delay=5.0, at=0.0)]
        """
        return self._call("map", function, returns, many=False)

    def flat_map(
        self, function: Callable[[Any], Iterable[Any]], *, returns: type[msgspec.Struct] | None = None
    ) -> Stream:
        """Call a Python function for each record; it returns, or yields, any number of Records.

        The Record class is taken from `returns` or from the annotation, such as `Iterator[Word]`. All of them have the
        time, partition and offset of the record that they come from. Where the function raises, none is passed on.

        >>> def each_letter(departure):
        ...     for letter in departure.carrier:
        ...         yield Departure(letter, departure.origin)
        >>> letters = departures.flat_map(each_letter, returns=Departure)
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK"))
        ...     [r.value.carrier for r in t.output(letters)]
        ['U', 'A']
        """
        return self._call("flat_map", function, returns, many=True)

    def _call(
        self, kind: str, function: Callable[[Any], Any], returns: type[msgspec.Struct] | None, *, many: bool
    ) -> Stream:
        struct = returns or _returned_record(function, inside=many)
        if struct is None:
            raise DeclarationError(
                f"{self.step}.{kind}({function_name(function)}): say which Record it "
                f"{'yields' if many else 'returns'}, by a return annotation or {kind}(..., returns=YourRecord)."
            )
        step = self.app._new_step(f"{self.step}.{kind}")
        schema = schema_of(struct)
        node = MapNode(id=step, input=self.step, function=function_name(function), many=many, schema=schema)
        self.app._add(node, function, struct)
        return Stream(self.app, step, schema, None)

    def branch(self, *predicates: Expr) -> tuple[Stream, ...]:
        """Split into one stream a condition, each record going to the first that is true of it, and one of the rest.

        The last stream returned has the records of which none is true.

        >>> late, fine, unknown = departures.branch(col("delay") > 60, col("delay") <= 60)
        >>> with app.test() as t:
        ...     for delay in (5.0, 90.0, None):
        ...         t.send(departures, Departure("UA", "JFK", delay))
        ...     [[r.value.delay for r in t.output(stream)] for stream in (late, fine, unknown)]
        [[90.0], [5.0], [None]]
        """
        self._columns("branch(...)")
        if not predicates:
            raise DeclarationError(f'{self.step}.branch needs at least one condition, such as col("delay") > 60.')
        streams, rest = [], self
        for predicate in predicates:
            streams.append(rest._keep(predicate, "branch", self.app._new_step(f"{self.step}.branch")))
            rest = rest._keep(~predicate.fill_null(False), "branch", self.app._new_step(f"{self.step}.rest"))
        return (*streams, rest)

    def group_by(self, *keys: str, partitions: int | None = None) -> Grouped:
        """Group by one or more columns.

        Where the records are partitioned by one of them already, nothing moves; else they pass an internal
        topic of `partitions` partitions (default: as many as the input).

        >>> flights = departures.group_by("carrier", "origin").agg(n=count()).table("flights")
        >>> with app.test() as t:
        ...     for origin in ("JFK", "JFK", "LGA"):
        ...         t.send(departures, Departure("UA", origin))
        ...     [tuple(row.values()) for row in t.table(flights).rows()]
        [('UA', 'JFK', 2), ('UA', 'LGA', 1)]
        """
        schema = self._columns(f"group_by{keys!r}")
        if not keys:
            raise DeclarationError(f"{self.step}.group_by needs at least one column.")
        checked_keys(f"{self.step}.group_by", schema, keys)
        if partitions is not None:
            checked_partitions(f"{self.step}.group_by", partitions)
        return Grouped(self, keys, partitions)

    def window(self, window: AnyWindow) -> Windowed:
        """Cut the groups of a keyed stream into windows.

        >>> hourly = departures.window(tumbling("1h")).agg(n=count()).table("hourly")
        >>> with app.test() as t:
        ...     for at in (0.0, 60.0, 3600.0):
        ...         t.send(departures, Departure("UA", "JFK", at=at))
        ...     [(row["origin"], row["window_start"], row["n"]) for row in t.table(hourly).rows()]
        [('JFK', 0.0, 2), ('JFK', 3600.0, 1)]
        """
        if self.key is None:
            raise DeclarationError(
                f"{self.step}.window({window}) has no key to group by: write .group_by(column) before .window(...)."
            )
        return self.group_by(self.key).window(window)

    def to(
        self,
        topic: Topic | Expr | Router | Callable[[Any], Topic],
        *,
        topics: Mapping[Any, Topic] | Iterable[Topic] | None = None,
        partition: Partition | None = None,
    ) -> Stream:
        """Write the records to a topic, and return this stream for further steps.

        An expression chooses the topic by its value: `to(col("kind"), topics={"book": books, "toy": toys})`. A function
        of a record returns one of `topics`. `partition` is an expression, or a function of a record and the number of
        partitions; without it the key decides. A record without a topic or partition goes to the dead letters.

        >>> of_united, others = app.topic("of_united", value=Departure), app.topic("others", value=Departure)
        >>> united = when(col("carrier") == "UA").then("yes").otherwise("no")
        >>> departures.to(united, topics={"yes": of_united, "no": others})
        <Topic departures>
        >>> with app.test() as t:
        ...     for carrier in ("UA", "DL"):
        ...         t.send(departures, Departure(carrier, "JFK"))
        ...     [r.value.carrier for r in t.output(of_united)]
        ['UA']
        """
        from dsl.routing import add_sink

        add_sink(self, topic, topics, partition)
        return self

    def through(self, topic: Topic) -> Topic:
        """Write the records to a topic, and go on with what is read from it.

        Its partitions and its key count from there on; anybody may write to it and read it.

        >>> by_carrier = app.topic("by_carrier", value=Departure, key="carrier", partitions=4)
        >>> flights = departures.through(by_carrier).group_by("carrier").agg(n=count()).table("flights")
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK"))
        ...     t.table(flights).rows()
        [{'carrier': 'UA', 'n': 1}]
        """
        self.to(topic)
        return topic


def _returned_record(function: Callable[..., Any], *, inside: bool = False) -> type[msgspec.Struct] | None:
    try:
        hint = get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None
    if inside:  # the first argument of list[Word], Iterator[Word], Generator[Word, None, None]
        hint = next(iter(get_args(hint)), None)
    for option in (hint, *getattr(hint, "__args__", ())):
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            return option
    return None
