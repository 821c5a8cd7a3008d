"""The app: where a flow module declares its topics, streams, tables, agents and timers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from dsl.agent_steps import ON_ERROR
from dsl.checks import check_fields, check_one_of, check_partitioner, checked_name, checked_partitions, function_name
from dsl.codecs import chosen_codec
from dsl.durations import Duration, microseconds
from dsl.errors import DeclarationError
from dsl.global_table import GlobalTable, global_table
from dsl.grouped import Aggregated
from dsl.not_awaited import check_awaited
from dsl.outside import Outside
from dsl.plan.graph import Plan, late_topic_name
from dsl.plan.nodes import RepartitionNode, TopicNode, inputs_of, partition_rule
from dsl.plan.types import schema_of
from dsl.plan.validate import validate
from dsl.topic import Topic, is_record, value_name


class App(Outside):
    """Declare a stream-processing app. `id` prefixes its internal topics and names its consumer group.

    `partitions` is the default number of partitions of the topics that are declared.
    """

    def __init__(self, id: str, *, partitions: int = 1) -> None:
        super().__init__(id)
        self.partitions = checked_partitions("app", partitions)
        self._topics: dict[str, Topic] = {}
        self._unnamed: list[Aggregated] = []

    def __repr__(self) -> str:
        return f"<App {self.id}>"

    def topic(
        self,
        name: str,
        *,
        value: Any = dict,
        key: str | None = None,
        timestamp: str | None = None,
        unit: str = "s",
        partitions: int | None = None,
        codec: Any = None,
        on_error: str = "dead-letter",
        partitioned_by: str | None = None,
        partitioner: Callable[[bytes | None, int], int] | None = None,
        retention: Duration | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> Topic:
        """Declare a topic.

        `value` is a Record class, `dict`, `str` or `bytes`. `key` says that the message key is that field;
        `timestamp` names the field with the event time: a datetime, or a number in `unit` ("s", "ms", "us") since
        the epoch; without it the record's own timestamp counts. `on_error` is what happens to values that cannot
        be decoded: "dead-letter", "skip" or "stop". `codec` is "json" (the default), "msgpack", "raw" (of `str` and
        `bytes`), "avro", or a `Codec`, `Avro` or `Protobuf`. `retention` is how long the topic keeps its records (None:
        for ever); where it is not declared, a topic that exists is taken as it is, and one that Flows makes keeps them
        for seven days. `partitioner` is called with the bytes of a record's key (None where it has none) and the number
        of partitions, wherever Flows writes to the topic, and returns the partition; equal keys must get the same.
        Without it partitions are chosen as by Kafka's Java client. Raises `DeclarationError`.

        >>> app.topic("arrivals", value=Departure, key="origin", timestamp="at", partitions=4)
        <Topic arrivals>
        """
        if name in self._topics:
            raise DeclarationError(f"topic {name!r} is declared twice.")
        schema = schema_of(value) if is_record(value) else None
        check_fields(name, schema, key, timestamp)
        check_one_of(f"topic {name!r}: on_error", on_error, ON_ERROR)
        check_one_of(f"topic {name!r}: unit", unit, ("s", "ms", "us"))
        check_partitioner(name, partitioner, partitioned_by)
        chosen = chosen_codec(checked_name("topic", name), codec, value)
        kept: Duration | None = "7d" if isinstance(retention, msgspec.UnsetType) else retention
        node = TopicNode(
            id=name,
            name=name,
            value=value_name(chosen.value),
            schema=schema,
            key=key,
            timestamp=timestamp,
            unit=unit,
            partitions=checked_partitions(f"topic {name!r}", self.partitions if partitions is None else partitions),
            codec=chosen.name,
            registered=chosen.schema,
            on_error=on_error,
            partitioned_by=partitioned_by,
            partitioner="" if partitioner is None else function_name(partitioner),
            retention=None if kept is None else microseconds(kept, f"topic {name!r}: retention"),
            any_retention=retention is msgspec.UNSET,
        )
        if partitioner is not None:
            self._functions[partition_rule(name)] = partitioner
        topic = self._add_topic(node, chosen.value)
        self._functions.update(chosen.functions)
        return topic

    def global_table(self, name: str, topic: Topic | None = None) -> GlobalTable:
        """Read a topic as a table that every worker has all of: of each key the latest value; a null removes the key.

        Each worker reads all partitions of the topic, before its tasks start and from then on. Agents read
        `table[key]`, streams are joined with it by any expression, `stream.join(table, on=col("…"))`, and no record
        moves for that. What a record finds is what its worker has read by then: neither event time nor commits order
        the two. Where the topic does not exist and no retention is declared, it is made to keep the last record of
        each key. Raises `DeclarationError`.

        >>> class Carrier(flows.Record):
        ...     carrier: str
        ...     name: str
        >>> carriers = app.global_table("carriers", app.topic("names", value=Carrier, key="carrier"))
        >>> named = departures.join(carriers, how="left").select("name")
        >>> with app.test() as t:
        ...     t.send("names", Carrier("UA", "United"))
        ...     t.send(departures, Departure("UA", "JFK"))
        ...     t.output(named)[0].value
        {'name': 'United'}
        """
        return global_table(self, name, topic)

    def channel(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refuse Faust's channel, a queue in one process's memory: what is in it is lost where the process dies.

        A topic keeps it. Where it may be lost, an `asyncio.Queue` that a task of the worker takes from will do.
        Raises `DeclarationError`.
        """
        raise DeclarationError(
            "app.channel(): a channel lives in the memory of one worker, so a crash loses what is in it, and a retried "
            'record puts it there twice. Use a topic, app.topic("name"), which keeps it and belongs to the commit; '
            "where losing it is fine, an asyncio.Queue that a coroutine under @app.task takes from."
        )

    def plan(self) -> Plan:
        """Return all that is declared, as frozen data. Raises `DeclarationError` where parts do not fit together."""
        for lost in self._unnamed:
            raise DeclarationError("these aggregates are kept nowhere: end them with .table(name).", place=lost.place)
        nodes = tuple(self._with_tables(node) for node in self._nodes.values())
        for function in self._called():
            check_awaited(function)
        plan = Plan(self.id, nodes, self._functions, self._types)
        validate(plan)
        return plan

    # What streams and tables need to add their steps.

    def _add_topic(self, node: TopicNode, value: Any) -> Topic:
        if node.id in self._nodes:
            raise DeclarationError(f"the name {node.id!r} is taken by another topic, table or agent of the app.")
        self._add(node, None, value)
        topic = self._topics[node.name] = Topic(self, node, value)
        return topic

    def _partitions_before(self, step: str) -> int:
        node = self._nodes[step]
        while not isinstance(node, TopicNode | RepartitionNode):
            node = self._nodes[inputs_of(node)[0]]
        return node.partitions

    def _late_topic(self, name: str) -> Topic:
        topic = late_topic_name(self.id, name)
        if topic not in self._topics:
            partitions = self._partitions_before(name)
            node = TopicNode(id=topic, name=topic, value="dict", partitions=partitions, internal=True)
            return self._add_topic(node, dict)
        return self._topics[topic]
