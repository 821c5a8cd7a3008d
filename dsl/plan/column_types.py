"""What columns hold where the plan's kinds do not tell: structs, lists, enums, as Records declare them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from dsl.plan.exprs import Column
from dsl.plan.graph import Plan
from dsl.plan.nodes import (
    AggregateNode,
    GlobalLookupNode,
    GlobalTableNode,
    JoinNode,
    LookupNode,
    MapNode,
    MergeNode,
    Node,
    ProjectNode,
    TableJoinNode,
    TopicNode,
    fold_id,
    inputs_of,
)
from dsl.plan.types import Kind

Types = dict[str, Any]


def column_types(plan: Plan, step: str) -> Types:
    """Return the Python types of a step's columns of kind `OTHER`, by name, as far as they were declared.

    Stored, their values are plain dicts, lists and texts; it takes their types to make of these what they were.
    """
    node = plan.nodes[step]
    known = _known(plan, node)
    others = (f.name for f in getattr(node, "schema", None) or () if f.type.kind is Kind.OTHER)
    return {name: known[name] for name in others if name in known}


def _known(plan: Plan, node: Node) -> Types:
    if isinstance(node, TopicNode | MapNode):
        return _fields_of(plan.types.get(node.id))
    if isinstance(node, GlobalTableNode):
        return column_types(plan, node.topic)
    if isinstance(node, AggregateNode):
        folds = {call.name: plan.types.get(fold_id(node.table, call.name)) for call in node.aggregates if call.step}
        return {name: fold.type for name, fold in folds.items() if fold is not None}
    if isinstance(node, JoinNode | LookupNode | TableJoinNode):
        return column_types(plan, node.left) | _renamed(column_types(plan, node.right), node.right_columns)
    if isinstance(node, GlobalLookupNode):
        of_table = column_types(plan, plan.table_nodes()[node.table].id)
        return column_types(plan, node.input) | _renamed(of_table, node.right_columns)
    if isinstance(node, MergeNode):
        first, *rest = (column_types(plan, before) for before in node.inputs)
        return {name: found for name, found in first.items() if all(types.get(name) == found for types in rest)}
    before = inputs_of(node)
    found = column_types(plan, before[0]) if len(before) == 1 else {}
    if isinstance(node, ProjectNode):
        computed = {name for name, _ in node.columns}
        passed = {name: type_ for name, type_ in found.items() if name not in computed}
        return passed | _renamed(found, ((e.name, name) for name, e in node.columns if isinstance(e, Column)))
    return found


def _fields_of(record: Any) -> Types:
    if not (isinstance(record, type) and issubclass(record, msgspec.Struct)):
        return {}
    return {field.name: field.type for field in msgspec.structs.fields(record)}


def _renamed(types: Types, columns: Iterable[tuple[str, str]]) -> Types:
    return {new: types[old] for old, new in columns if old in types}
