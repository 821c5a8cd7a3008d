"""Compiling joins of tables by a foreign key: who answers, and who takes the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.changes import SIGN
from dsl.plan.nodes import AnswerNode, TableJoinNode
from flows.brokers.base import TopicPartition
from flows.compile.columns import schema_of_step
from flows.compile.tables import TableDecoder
from flows.compile.values import key_types
from flows.operate.foreign_join import ForeignJoin, Questions
from flows.state.keys import KeyCodec

if TYPE_CHECKING:
    from flows.compile.task import TaskCompiler


def questions(compiler: TaskCompiler, node: AnswerNode) -> Questions:
    """Build what keeps the questions for a table's rows."""
    return Questions(
        node.id,
        node.table,
        node.on,
        SIGN,
        TopicPartition(node.id, compiler.context.partition),
        encoder=KeyCodec(key_types(schema_of_step(compiler.plan, node.input), (node.on,))),
        rows=TableDecoder(compiler.plan, node.table),
        state=compiler.context.state,
    )


def foreign_join(compiler: TaskCompiler, node: TableJoinNode) -> ForeignJoin:
    """Build what joins rows with the answers to their questions."""
    return ForeignJoin(
        node.table,
        node.left,
        node.on,
        node.how == "inner",
        rows=TableDecoder(compiler.plan, node.left),
        state=compiler.context.state,
        changed=lambda keys, states: compiler.pipeline.changed(node.table, keys, states),
    )
