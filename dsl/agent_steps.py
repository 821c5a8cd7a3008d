"""What an app declares with functions of the person: agents, timers, sources, and the tables that they write."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from dsl.agent import Agent
from dsl.checks import check_one_of, checked_name, element_type, key_type
from dsl.errors import DeclarationError
from dsl.grouped import Grouped
from dsl.groups_inside import groups_inside
from dsl.key_timer import KeyTimer
from dsl.not_awaited import check_async_for
from dsl.plan.nodes import (
    PASSING,
    AgentNode,
    MapNode,
    Node,
    ProjectNode,
    RepartitionNode,
    SourceNode,
    TableNode,
    TimerNode,
    TopicNode,
    inputs_of,
    on_close_id,
    router_rule,
)
from dsl.plan.types import Field, Schema, value_name
from dsl.routing import Router, sinks_of
from dsl.sets import SetTable
from dsl.steps import Steps
from dsl.stream import Stream
from dsl.table import AgentTable, DictTable, Table
from dsl.tables_used import check_coroutine, tables_used
from dsl.topic import Topic
from dsl.window import AnyWindow, FixedWindow
from dsl.windowed import WindowedTable, dictionary_schema, dictionary_window

if TYPE_CHECKING:
    from dsl.app import App

Function = TypeVar("Function", bound=Callable[..., Any])
Windowed = TypeVar("Windowed", bound=WindowedTable)

ON_ERROR = ("dead-letter", "skip", "stop")


class AgentSteps(Steps):
    """The part of an app that runs Python for each record."""

    def table(
        self,
        name: str,
        *,
        key: Any = str,
        value: Any = Any,
        default: Callable[[], Any] | None = None,
        on_window_close: Callable[[Any, Any], Any] | None = None,
    ) -> DictTable:
        """Declare a dictionary table that agents write; `default` makes the value of a missing key.

        `.tumbling(size, expires=…)` or `.hopping(…)` after it give it windows. Then `on_window_close(key, value)`, a
        function or a coroutine, is called once for each row that expires; `key` is `(key, (start, end))`, the bounds
        in seconds. It may write tables and send to topics.

        >>> seen = app.table("seen", value=int, default=int)
        >>> @app.agent(departures)
        ... async def count_them(stream):
        ...     async for departure in stream:
        ...         seen[departure.origin] += 1
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK"))
        ...     t.table(seen).get("JFK")
        1
        """
        self._claim_table(name)
        if default is not None and not callable(default):
            raise DeclarationError(f"table {name!r}: default must be callable, such as int or list, not {default!r}.")
        if on_window_close is not None and not callable(on_window_close):
            raise DeclarationError(
                f"table {name!r}: on_window_close is a function (key, value), not {on_window_close!r}."
            )
        node = TableNode(
            id=name,
            table=name,
            key=value_name(key),
            value=value_name(value),
            schema=dictionary_schema(name, key, value),
            on_close=getattr(on_window_close, "__qualname__", "") if on_window_close else "",
        )
        table = DictTable(self._app, name, key, value, default)
        self._tables[name] = table
        self._add(node, default, table)
        if on_window_close is not None:
            self._functions[on_close_id(name)] = on_window_close
        return table

    def set_table(self, name: str, *, key: Any = str, value: Any = str) -> SetTable:
        """Declare a table with a set for each key; `value` is the type of the elements, one that can be a key.

        >>> carriers = app.set_table("carriers")
        >>> @app.agent(departures)
        ... async def note(stream):
        ...     async for departure in stream:
        ...         carriers[departure.origin].add(departure.carrier)
        >>> with app.test() as t:
        ...     for carrier in ("UA", "DL", "UA"):
        ...         t.send(departures, Departure(carrier, "JFK"))
        ...     sorted(t.table(carriers).get("JFK"))
        ['DL', 'UA']
        """
        self._claim_table(name)
        fields = Field("key", key_type(name, key)), Field("value", element_type(name, value))
        node = TableNode(
            id=name,
            table=name,
            key=value_name(key),
            value=value_name(value),
            sets=True,
            schema=Schema(fields, name),
        )
        table = SetTable(self._app, name, key, value)
        self._tables[name] = table
        self._add(node, None, table)
        return table

    def key_timer(self, name: str, *, key: Any = str, time: str = "event") -> KeyTimer:
        """Declare timers that agents set for single keys: `reminders.set(user, after="15m")`, at most one for each.

        `@reminders.on_time` names the function that is called with the key when its timer is due, once, over crashes
        too. With `time="event"` that is by the stream time of the task, between two records, on silent inputs too; with
        `"processing"` by the wall clock.

        >>> quiet, alerts = app.key_timer("quiet"), app.topic("alerts")
        >>> @app.agent(departures)
        ... async def watch(stream):
        ...     async for departure in stream:
        ...         quiet.set(departure.origin, after="1h")
        >>> @quiet.on_time
        ... async def tell(origin, due):
        ...     await alerts.send({"nothing_leaves": origin, "since": due - 3600})
        >>> with app.test() as t:
        ...     for origin, at in (("JFK", 0.0), ("LGA", 60.0), ("LGA", 3630.0)):
        ...         t.send(departures, Departure("UA", origin, at=at))
        ...     [r.value for r in t.output(alerts)]
        [{'nothing_leaves': 'JFK', 'since': 0.0}]
        """
        self._claim_table(name)
        check_one_of(f"key timer {name!r}: time", time, ("event", "processing"))
        schema = dictionary_schema(name, key, float)
        self._add(TableNode(id=name, table=name, key=value_name(key), value="float", timer=time, schema=schema))
        self._types[name] = self._tables[name] = timer = KeyTimer(self._app, name, key, time)
        return timer

    def _with_windows(
        self, table: DictTable | SetTable, window: AnyWindow, made: Callable[[FixedWindow], Windowed]
    ) -> Windowed:
        node = self._nodes[table.name]
        assert isinstance(node, TableNode)
        fixed = dictionary_window(node, window)
        found = made(fixed)
        schema = dictionary_schema(table.name, table.key_type, table.value_type, fixed)
        self._add(msgspec.structs.replace(node, window=fixed, schema=schema), None, found)
        self._tables[table.name] = found
        return found

    def agent(
        self,
        source: Stream | Grouped,
        *,
        sink: Iterable[Topic | Router] = (),
        concurrency: int = 1,
        name: str | None = None,
        on_error: str = "dead-letter",
        retries: int = 3,
        tables: Iterable[AgentTable] = (),
    ) -> Callable[[Callable[..., Any]], Agent]:
        """Declare a coroutine over a stream; what it yields goes to the topics in `sink`, some chosen by `router`.

        A record that makes it raise is retried `retries` times, then handled by `on_error`. With
        `concurrency` n, n copies share a task's records by key. Tables are found by name in the function;
        `tables` adds what cannot be seen there. Over `stream.group_by(columns)` the records of one group are in one
        task, in an internal topic where they are not by themselves; `stream.group_by(columns)` in the function is the
        same, where its arguments are written out there.

        >>> alerts = app.topic("alerts")
        >>> @app.agent(departures.filter(col("delay") > 60), sink=[alerts])
        ... async def warn(stream):
        ...     async for departure in stream:
        ...         yield {"late": departure.carrier}
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK", 90.0))
        ...     t.output(alerts)[0].value
        {'late': 'UA'}
        """
        if not isinstance(source, Stream | Grouped):
            raise DeclarationError(f"an agent reads a topic or a stream, not {source!r}: write @app.agent(topic).")
        check_one_of("agent: on_error", on_error, ON_ERROR)
        if concurrency < 1 or retries < 0:
            raise DeclarationError(
                f"agent: concurrency must be at least 1, retries at least 0 ({concurrency}, {retries})."
            )
        topics, routers = sinks_of(self._app, sink)
        named = self._own_tables(tables)

        def declare(function: Callable[..., Any]) -> Agent:
            check_coroutine(function, "an agent", "async for record in stream: …")
            check_async_for(function)
            step = self._new_step(checked_name("agent", name or function.__name__), numbered=False)
            given = self._input_of(source, step, function)
            self._add(
                AgentNode(
                    id=step,
                    input=given,
                    function=getattr(function, "__qualname__", step),
                    concurrency=concurrency,
                    on_error=on_error,
                    retries=retries,
                    sinks=topics,
                    routers=tuple(r.choice(self._app, "sink") for r in routers),
                    tables=named,
                ),
                function,
            )
            self._functions.update({router_rule(step, i): r.function for i, r in enumerate(routers)})
            return Agent(step, function, self._topic_of(given))

        return declare

    def _input_of(self, source: Stream | Grouped, agent: str, function: Callable[..., Any]) -> str:
        """Return the step that an agent reads; groups pass an internal topic of its name where they have to."""
        inside, name = groups_inside(function), None
        if inside is not None and isinstance(source, Grouped):
            raise DeclarationError(
                f"agent {agent!r} reads groups, and groups them again: leave one out.", place=inside.place
            )
        if inside is not None and isinstance(source, Stream):
            name = inside.name and checked_name("group_by", inside.name)
            source = source.group_by(*inside.keys, partitions=inside.partitions)
        if isinstance(source, Stream):
            return source.step
        stream, app = source.stream, self._app
        if stream.key in source.keys or stream.schema is None:
            return stream.step
        step = self._new_step(f"{agent}.group_by")
        node = RepartitionNode(
            id=step,
            input=stream.step,
            topic="-".join([self.id, agent, *([name] if name else []), "repartition"]),
            keys=source.keys,
            partitions=source.partitions or app._partitions_before(stream.step),
            schema=stream.schema,
        )
        self._add(node)
        return step

    def _topic_of(self, step: str) -> Topic | None:
        """Return the topic whose records come to a step in the same task."""
        node = self._nodes[step]
        while isinstance(node, (*PASSING, ProjectNode, MapNode)):
            node = self._nodes[inputs_of(node)[0]]
        return self._app._topics.get(node.name) if isinstance(node, TopicNode) else None

    def source(self, topic: Topic, *, total: Callable[[], int] | int | None = None) -> Callable[[Function], Function]:
        """Feed a topic from a function `f(position)`, exactly once over restarts.

        It yields the records from `position` on (0 at first): the position is kept with what was written, so a
        restart goes on where it was. The records must be the same each time. A worker of the group runs it.
        `total` tells how many records there will be, for the progress bar.

        >>> @app.source(departures, total=1000)
        ... def replay(position):
        ...     for number in range(position, 1000):
        ...         yield Departure("UA", "JFK", at=60.0 * number)
        """
        target = self._own_topic(topic, "source")

        def declare(function: Function) -> Function:
            step = self._new_step(function.__name__, numbered=False)
            self._add(SourceNode(id=step, function=function.__qualname__, topic=target), function)
            if total is not None:
                self._functions[f"{step}.total"] = total if callable(total) else lambda: total
            return function

        return declare

    def _with_tables(self, node: Node) -> Node:
        # Only now, since a function may name tables and helpers that the module declares below it.
        if not isinstance(node, AgentNode | TimerNode | TableNode):
            return node
        function = self._functions.get(on_close_id(node.id, node.timer) if isinstance(node, TableNode) else node.id)
        if function is None:
            return node
        used = self._own_tables(tables_used(function))
        return msgspec.structs.replace(node, tables=tuple(sorted({*node.tables, *used})))

    def _own_tables(self, tables: Iterable[AgentTable]) -> tuple[str, ...]:
        if isinstance(tables, AgentTable | Table):
            raise DeclarationError(f"tables takes a list: tables=[{tables.name}].")
        tables = tuple(tables)
        for table in tables:
            if not isinstance(table, AgentTable):
                raise DeclarationError(f"tables takes tables made by app.table(...), not {table!r}.")
            if table.app is not self:
                raise DeclarationError(f"table {table.name!r} belongs to app {table.app.id!r}, not to {self.id!r}.")
        return tuple(sorted({table.name for table in tables}))

    def _own_topic(self, topic: Topic, role: str) -> str:
        if not isinstance(topic, Topic):
            raise DeclarationError(f"{role} takes a topic made by app.topic(...), not {topic!r}.")
        if topic.app is not self:
            raise DeclarationError(f"{role}: topic {topic.name!r} belongs to app {topic.app.id!r}, not to {self.id!r}.")
        return topic.name

    @property
    def _app(self) -> App:
        return cast("App", self)
