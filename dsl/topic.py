"""Topics: partitioned logs at the broker, with the type of their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dsl.context import runtime
from dsl.durations import Duration
from dsl.plan.nodes import TopicNode
from dsl.plan.types import value_name as value_name
from dsl.stream import Stream

if TYPE_CHECKING:
    from dsl.app import App
    from dsl.topic_table import TopicTable


class Topic(Stream):
    """A topic of the app: read it as a stream, write to it with `send`."""

    def __init__(self, app: App, node: TopicNode, value: Any) -> None:
        super().__init__(app, node.id, node.schema, node.key)
        self.node, self.value_type = node, value

    @property
    def name(self) -> str:
        """The topic's name at the broker."""
        return self.node.name

    def table(self, name: str, *, versioned: Duration | None = None) -> TopicTable:
        """Read the topic as a table: of each key the latest value; a null value removes the key.

        The latest is the last in the log. With `versioned="1d"` it is the one of the largest event time, and older
        versions are kept for a day of stream time: a late record of a stream is joined with the row of its own time.

        >>> latest = departures.table("latest")
        >>> with app.test() as t:
        ...     for carrier in ("UA", "DL"):
        ...         t.send(departures, Departure(carrier, "JFK"))
        ...     t.table(latest).rows()
        [{'carrier': 'DL', 'origin': 'JFK', 'delay': None, 'at': 0.0}]
        """
        from dsl.topic_table import topic_table

        return topic_table(self, name, versioned)

    async def send(
        self,
        value: Any,
        *,
        key: Any = None,
        timestamp: float | None = None,
        partition: int | None = None,
        headers: dict[str, bytes] | None = None,
    ) -> None:
        """Append a record. Inside an agent it leaves with the task's commit, elsewhere it is durable on return.

        Without `key` the topic's declared key field is used; `timestamp` is in seconds (default: now).

        >>> alerts = app.topic("alerts")
        >>> @app.agent(departures)
        ... async def warn(stream):
        ...     async for departure in stream:
        ...         await alerts.send({"late": departure.carrier}, key=departure.origin)
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK"))
        ...     t.output(alerts)[0].value
        {'late': 'UA'}
        """
        await runtime(f"topic {self.name!r}.send").send(self, value, key, timestamp, partition, headers)


def is_record(value: Any) -> bool:
    """Tell whether a value type has columns."""
    return isinstance(value, type) and issubclass(value, msgspec.Struct)
