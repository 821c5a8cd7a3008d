"""Compiling where records go: a sink's topic and partition, or the rules that choose them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl

from dsl.plan.exprs import render
from dsl.plan.nodes import RouteNode, SinkNode, partition_rule
from flows.compile.columns import schema_of_step
from flows.compile.expressions import compile_expr
from flows.sink.targets import (
    PartitionIn,
    TopicChoice,
    TopicOf,
    one_topic,
    partition_by_function,
    partition_by_value,
    partition_of_key,
    topic_by_function,
    topic_by_value,
)

if TYPE_CHECKING:
    from flows.compile.task import TaskCompiler


def topics_of(compiler: TaskCompiler, node: SinkNode | RouteNode) -> Callable[[pl.DataFrame], TopicOf]:
    """Return what tells the topic of each row."""
    of = compiler.encoders.of
    if isinstance(node, SinkNode):
        return one_topic(of(node.topic))
    if node.by is None:
        choice = TopicChoice(node.function, compiler.plan.functions[node.id], node.topics)
        return topic_by_function(choice, {topic: of(topic) for topic in node.topics})
    by = compile_expr(node.by, schema_of_step(compiler.plan, node.input))
    return topic_by_value(by, render(node.by), {case.value: of(topic) for case, topic in node.cases})


def partitions_of(compiler: TaskCompiler, node: SinkNode | RouteNode) -> Callable[[pl.DataFrame], PartitionIn]:
    """Return what tells the partition of each row."""
    if node.partition is not None:
        by = compile_expr(node.partition, schema_of_step(compiler.plan, node.input))
        return partition_by_value(by, f"partition={render(node.partition)}")
    if node.partition_function:
        function = compiler.plan.functions[partition_rule(node.id)]
        return partition_by_function(f"partition={node.partition_function}", function)
    return partition_of_key
