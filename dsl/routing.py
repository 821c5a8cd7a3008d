"""Where records go: to a topic, to one of several by their content, to a partition by a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dsl.checks import check_sink, function_name
from dsl.errors import DeclarationError
from dsl.expr import Expr, to_node
from dsl.plan.exprs import Call, ExprNode, Literal, render
from dsl.plan.functions import type_of
from dsl.plan.nodes import Choice, RouteNode, SinkNode, partition_rule
from dsl.plan.types import Kind, Schema
from dsl.topic import Topic

if TYPE_CHECKING:
    from dsl.app import App
    from dsl.stream import Stream

Partition = Expr | int | Callable[[Any, int], int]
"""An expression, or a function of a record and the number of partitions."""


_EXACT = (Kind.STR, Kind.INT, Kind.BOOL, Kind.BYTES, Kind.DATE)


class Router:
    """A function that chooses one of some topics for each value; made by `router`."""

    def __init__(self, function: Callable[[Any], Topic], topics: tuple[Topic, ...]) -> None:
        self.function, self.topics = function, topics

    def __repr__(self) -> str:
        return f"<Router {function_name(self.function)}>"

    def choice(self, app: App, role: str) -> Choice:
        """Return it as the plan has it."""
        names = tuple(dict.fromkeys(app._own_topic(topic, role) for topic in self.topics))
        return Choice(function=function_name(self.function), topics=names)


def router(function: Callable[[Any], Topic], *, topics: Iterable[Topic]) -> Router:
    """Let a function choose one of some topics for each value: `sink=[router(choose, topics=[books, toys])]`.

    All that it may return are declared in `topics`. A value for which it raises, or returns anything else, goes to the
    dead letters with the reason. Raises `DeclarationError`.

    >>> big, small = app.topic("big"), app.topic("small")
    >>> by_delay = flows.router(lambda found: big if found["delay"] > 60 else small, topics=[big, small])
    >>> @app.agent(departures, sink=[by_delay])
    ... async def sort(stream):
    ...     async for departure in stream:
    ...         yield {"delay": departure.delay}
    >>> with app.test() as t:
    ...     t.send(departures, Departure("UA", "JFK", 90.0))
    ...     t.output(big)[0].value
    {'delay': 90.0}
    """
    if isinstance(function, Expr | Topic) or not callable(function):
        raise DeclarationError(f"router takes a function from a value to a topic, not {function!r}.")
    return Router(function, _listed(topics, f"router({function_name(function)})"))


def _listed(topics: Any, what: str) -> tuple[Topic, ...]:
    if isinstance(topics, Topic) or not isinstance(topics, Iterable) or not (listed := tuple(topics)):
        raise DeclarationError(f"{what} needs the topics that it chooses among: topics=[books, toys].")
    return listed


def sinks_of(app: App, sink: Iterable[Topic | Router]) -> tuple[tuple[str, ...], list[Router]]:
    """Return the names of the topics that an agent yields to, and its routers."""
    if isinstance(sink, Topic):
        raise DeclarationError(f"agent: sink takes a list of topics: sink=[{sink.name}].")
    if isinstance(sink, Router) or not isinstance(sink, Iterable):
        raise DeclarationError("agent: sink takes a list of topics and routers: sink=[router(choose, topics=[…])].")
    sinks = list(sink)
    for found in sinks:
        if callable(found):
            raise DeclarationError(
                f"sink: {function_name(found)} is a function: say which topics it may return, "
                f"router({function_name(found)}, topics=[…])."
            )
    routers = [s for s in sinks if isinstance(s, Router)]
    return tuple(app._own_topic(s, "sink") for s in sinks if not isinstance(s, Router)), routers


def add_sink(stream: Stream, target: Any, topics: Any, partition: Partition | None) -> None:
    """Add the step that writes a stream. Raises `DeclarationError`."""
    what = f"{stream.step}.to"
    step = stream.app._new_step(what)
    if isinstance(target, Topic):
        if topics is not None:
            raise DeclarationError(f"{what}({target.name}) is one topic already: leave topics out.")
        rule, function = _partition_rule(stream, partition, [target])
        name = _checked(stream, target)
        node = SinkNode(id=step, input=stream.step, topic=name, partition=rule, partition_function=function)
        stream.app._add(node)
    elif isinstance(target, Expr):
        _add_cases(stream, step, target, topics, partition)
    elif callable(target) or isinstance(target, Router):
        _add_choice(stream, step, target, topics, partition)
    else:
        raise DeclarationError(f"{what} takes a topic made by app.topic(...), or what chooses one, not {target!r}.")
    if callable(partition):
        stream.app._functions[partition_rule(step)] = partition


def _add_cases(stream: Stream, step: str, by: Expr, topics: Any, partition: Partition | None) -> None:
    what, schema = f"{stream.step}.to({by!r})", stream._columns(f"to({by!r})")
    if not isinstance(topics, Mapping) or not topics:
        raise DeclarationError(f'{what} needs the topic of each value: topics={{"book": books, "toy": toys}}.')
    kind = type_of(by.node, schema).kind
    if kind not in _EXACT:
        raise DeclarationError(
            f"{what} is {kind.value}, which is no good to tell topics apart: take an expression of type str, int, "
            "bool, bytes or date, such as when(…).then(…)."
        )
    cases = []
    for value, topic in topics.items():
        literal = to_node(value)
        if not isinstance(literal, Literal):
            raise DeclarationError(f"{what}: {value!r} is no plain value; topics is from values to topics.")
        if value is not None:
            type_of(Call("eq", (by.node, literal)), schema)
        cases.append((literal, _checked(stream, topic)))
    names = tuple(dict.fromkeys(name for _, name in cases))
    rule, function = _partition_rule(stream, partition, list(topics.values()))
    node = RouteNode(
        id=step,
        input=stream.step,
        topics=names,
        by=by.node,
        cases=tuple(cases),
        partition=rule,
        partition_function=function,
    )
    stream.app._add(node)


def _add_choice(stream: Stream, step: str, target: Any, topics: Any, partition: Partition | None) -> None:
    chosen = target if isinstance(target, Router) else router(target, topics=_choices(stream, target, topics))
    for topic in chosen.topics:
        _checked(stream, topic)
    choice = chosen.choice(stream.app, f"{stream.step}.to")
    rule, function = _partition_rule(stream, partition, list(chosen.topics))
    node = RouteNode(
        id=step,
        input=stream.step,
        topics=choice.topics,
        function=choice.function,
        partition=rule,
        partition_function=function,
    )
    stream.app._add(node, chosen.function)


def _choices(stream: Stream, function: Any, topics: Any) -> tuple[Topic, ...]:
    if isinstance(topics, Mapping):
        raise DeclarationError(
            f"{stream.step}.to({function_name(function)}): a function returns the topic itself, so topics is a list."
        )
    return _listed(topics, f"{stream.step}.to({function_name(function)})")


def _checked(stream: Stream, topic: Any) -> str:
    name = stream.app._own_topic(topic, f"{stream.step}.to")
    check_sink(f"{stream.step}.to({name})", stream.schema, topic.value_type, topic.node.key)
    return name


def _partition_rule(stream: Stream, partition: Partition | None, topics: list[Topic]) -> tuple[ExprNode | None, str]:
    """Return the expression, or the name of the function, that chooses partitions."""
    what = f"{stream.step}.to(..., partition=…)"
    if partition is None:
        return None, ""
    for topic in topics:
        ruled = topic.node.partitioner or topic.node.partitioned_by
        if ruled:
            raise DeclarationError(
                f"{what}: the partitions of topic {topic.name!r} are chosen by {ruled}; two rules would put one key "
                "into two partitions. Leave one out."
            )
    if callable(partition):
        return None, function_name(partition)
    if isinstance(partition, bool) or not isinstance(partition, Expr | int):
        raise DeclarationError(f"{what} takes an expression, or a function of a record and the number of partitions.")
    rule = to_node(partition)
    schema = stream._columns("to(..., partition=…)") if isinstance(partition, Expr) else Schema((), stream.step)
    kind = type_of(rule, schema).kind
    if kind is not Kind.INT:
        raise DeclarationError(f"{what}: a partition is an int, but {render(rule)} is {kind.value}.")
    return rule, ""
