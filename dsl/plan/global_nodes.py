"""The nodes of a plan for global tables: whole on every worker, read by no task's input."""

from __future__ import annotations

import msgspec

from dsl.plan.exprs import ExprNode
from dsl.plan.types import DataType, Schema


class GlobalTableNode(msgspec.Struct, frozen=True, kw_only=True, tag="global_table"):
    """A topic as a table that every worker has all of: of each key the latest value. `topic` is the topic's step."""

    id: str
    topic: str
    table: str
    keys: tuple[str, ...]
    key_types: tuple[DataType, ...]
    schema: Schema


class GlobalLookupNode(msgspec.Struct, frozen=True, kw_only=True, tag="global_lookup"):
    """Join each record of a stream with the row of a global table that the expression `on` names."""

    id: str
    input: str
    table: str
    on: ExprNode
    how: str
    right_columns: tuple[tuple[str, str], ...]
    schema: Schema
