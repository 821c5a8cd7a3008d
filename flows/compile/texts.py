"""The texts that a table's rows keep, and how long they may be for each row to fit into a record of its changelog."""

from __future__ import annotations

from dsl.plan.exprs import ExprNode
from dsl.plan.nodes import AggregateCall, AggregateNode
from dsl.plan.types import DataType, Kind, Schema
from flows.compile.expressions import compile_expr
from flows.operate.group_keys import MAX_KEY, Text

_KEEPERS = ("min", "max", "first", "last", "arg_min", "arg_max")
_LISTS = {"collect": "limit", "top_k": "capacity"}
"""Aggregates that keep many values of their argument, with the option that says how many at most."""
_REST = 10_000
"""Bytes that are left for numbers and framing."""


def kept_texts(node: AggregateNode, schema: Schema, most: int) -> list[Text]:
    """Return the texts and bytes that a table keeps of a record, where a record of the changelog may have `most` bytes.

    Each has the same share of a row; one that is kept many times over is that much shorter.
    """
    room = max(most // 2, most - _REST - MAX_KEY * len(node.keys))
    kept = [(call, expr) for call in node.aggregates for expr, type_ in _arguments(call) if type_.kind in _TEXTS]
    return [
        (f"{call.name}'s value", compile_expr(expr, schema), room // len(kept) // _times(call)) for call, expr in kept
    ]


_TEXTS = (Kind.STR, Kind.BYTES)


def _arguments(call: AggregateCall) -> list[tuple[ExprNode, DataType]]:
    if call.function not in _KEEPERS and call.function not in _LISTS:
        return []
    pairs = ((call.argument, call.argument_type), (call.by, call.by_type))
    return [(expr, type_) for expr, type_ in pairs if expr is not None and type_ is not None]


def _times(call: AggregateCall) -> int:
    """Return how many values of its argument an aggregate keeps."""
    return int(dict(call.options)[_LISTS[call.function]]) if call.function in _LISTS else 1
