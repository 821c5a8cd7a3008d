"""Topics read as tables: of each key the latest value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from dsl.durations import Duration, microseconds
from dsl.errors import DeclarationError
from dsl.plan.nodes import TopicTableNode
from dsl.table import Table

if TYPE_CHECKING:
    from dsl.topic import Topic


class TopicTable(Table):
    """A topic as a table: joined, grouped by other columns, queried, watched."""

    def changes(self, **options: Any) -> NoReturn:
        """Refuse: the changes of a topic's table are the topic."""
        raise DeclarationError(f"{self.name}.changes(): what changes in it is what its topic says: read the topic.")


def topic_table(topic: Topic, name: str, versioned: Duration | None) -> TopicTable:
    """Add a topic's table to the plan."""
    schema, key, app = topic._columns(f"table({name!r})"), topic.node.key, topic.app
    if key is None:
        raise DeclarationError(
            f'{topic.name}.table({name!r}) needs to know which field the key is: app.topic({topic.name!r}, key="…").'
        )
    found = schema.get(key)
    assert found is not None
    history = None if versioned is None else microseconds(versioned, f"{topic.name}.table({name!r}): versioned")
    if history is not None and history < 0:
        raise DeclarationError(f"{topic.name}.table({name!r}): versioned cannot be negative.")
    app._claim_table(name)
    app._add(
        TopicTableNode(
            id=name, input=topic.step, table=name, keys=(key,), key_types=(found,), history=history, schema=schema
        )
    )
    return TopicTable(app, name, schema, (key,), None, key)
