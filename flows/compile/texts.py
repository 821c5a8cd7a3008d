"""The texts that a table's rows keep, and how long they may be for each row to fit into a record of its changelog."""

from __future__ import annotations

from dsl.plan.nodes import AggregateCall, AggregateNode
from dsl.plan.types import Kind, Schema
from flows.compile.expressions import compile_expr
from flows.operate.group_keys import MAX_KEY, Text

_KEEPERS = ("min", "max", "first", "last")
_REST = 10_000
"""Bytes that are left for numbers and framing."""


def kept_texts(node: AggregateNode, schema: Schema) -> list[Text]:
    """Return the texts and bytes that a table keeps of a record."""
    return [(f"{call.name}'s value", compile_expr(call.argument, schema)) for call in _calls(node) if call.argument]


def longest_text(node: AggregateNode, most: int) -> int:
    """Return the bytes that each kept text may have, where a record may have `most`."""
    return max(most // 2, most - _REST - MAX_KEY * len(node.keys)) // max(1, len(_calls(node)))


def _calls(node: AggregateNode) -> list[AggregateCall]:
    return [
        call
        for call in node.aggregates
        if call.function in _KEEPERS
        and call.argument_type is not None
        and call.argument_type.kind in (Kind.STR, Kind.BYTES)
    ]
