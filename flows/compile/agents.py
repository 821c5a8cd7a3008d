"""Compiling agents and timers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dsl.groups_inside import groups_inside
from dsl.plan.nodes import AgentNode, TableNode, TimerNode, TopicNode, dues_id, on_close_id, router_rule
from dsl.plan.validate import origins
from flows.compile.columns import has_original_rows, repartition_of, schema_of_step, topic_of_step
from flows.compile.expressions import frame_schema
from flows.compile.pipeline import TimerRun
from flows.emit.late import LateWrites
from flows.operate.agent import AgentRunner, AgentSpec
from flows.operate.replies import Replies
from flows.operate.schedule import schedule_of
from flows.sink.targets import TopicChoice

if TYPE_CHECKING:
    from flows.compile.task import TaskCompiler


def build_agent(compiler: TaskCompiler, node: AgentNode) -> AgentRunner:
    """Build an agent's runner."""
    topic = topic_of_step(compiler.plan, node.input)
    schema = schema_of_step(compiler.plan, node.input)
    inside = groups_inside(compiler.plan.functions[node.id])
    return AgentRunner(
        _spec(
            compiler,
            node.id,
            compiler.plan.functions[node.id],
            node.tables,
            sinks=node.sinks,
            routers=tuple(
                TopicChoice(r.function, compiler.plan.functions[router_rule(node.id, i)], r.topics)
                for i, r in enumerate(node.routers)
            ),
            concurrency=node.concurrency,
            on_error=node.on_error,
            retries=node.retries,
            key_field=_key_field(compiler, node),
            regrouped=repartition_of(compiler.plan, node.input) is not None,
            columns=frame_schema(schema) if schema.fields else None,
            value_type=compiler.row_type(node.input),
            decode=None if topic is None else compiler.context.codecs.of(topic).decode,
            is_json=compiler.is_json(node.input),
            groups=() if inside is None else inside.keys,
        )
    )


def _key_field(compiler: TaskCompiler, node: AgentNode) -> str | tuple[str, ...] | None:
    """Return the declared key of the topics whose objects the agent reads, where it is one."""
    regrouped = repartition_of(compiler.plan, node.input)
    if regrouped is not None:
        return regrouped.keys if len(regrouped.keys) > 1 else regrouped.keys[0]
    if not has_original_rows(compiler.plan, node.input):
        return None
    keys = {topic.key for topic in origins(compiler.plan, node.input) if isinstance(topic, TopicNode)}
    return keys.pop() if len(keys) == 1 else None


def build_timer(compiler: TaskCompiler, node: TimerNode) -> TimerRun:
    """Build a timer: an agent whose records are the ticks, so that it has savepoints and retries too."""
    function = compiler.plan.functions[node.id]

    async def ticks(stream: Any) -> None:
        async for _ in stream:
            await function()

    spec = _spec(compiler, node.id, ticks, node.tables, **_PLAIN)
    return TimerRun(node=node, runner=AgentRunner(spec), schedule=schedule_of(node, compiler.context.clock))


def build_closer(compiler: TaskCompiler, node: TableNode) -> AgentRunner:
    """Build what calls a table's `on_window_close`: an agent whose records are the rows of windows that ended."""
    function = compiler.plan.functions[on_close_id(node.id, node.timer)]

    async def closed(stream: Any) -> None:
        async for key, value in stream:
            called = function(key, value)
            if inspect.isawaitable(called):
                await called

    return AgentRunner(_spec(compiler, on_close_id(node.id, node.timer), closed, (node.table, *node.tables), **_PLAIN))


_PLAIN: dict[str, Any] = {
    "sinks": (),
    "routers": (),
    "concurrency": 1,
    "on_error": "dead-letter",
    "retries": 3,
    "key_field": None,
    "columns": None,
    "value_type": None,
    "decode": None,
}


def _spec(
    compiler: TaskCompiler,
    step: str,
    function: Callable[..., Any],
    tables: tuple[str, ...],
    is_json: bool = False,
    **rest: Any,
) -> AgentSpec:
    outbox, context = compiler.outbox, compiler.context
    known = compiler.pipeline.dict_tables
    states = {t: known[t] for table in tables for t in (table, dues_id(table)) if t in known}
    late = LateWrites(
        compiler.plan.app,
        context.partition,
        {t: s for t, s in compiler.windows.items() if t in states},
        is_json,
        outbox,
        context.now_ms,
        lambda: compiler.pipeline.expiries.time,
        lambda table, seconds: context.metrics.late[table].add(seconds),
    )
    return AgentSpec(
        step=step,
        function=function,
        tables=states,
        now=context.clock.now,
        late=late.add,
        replies=Replies(compiler.encoders, context.max_record_bytes, context.now_ms),
        ask=context.ask,
        copies=dict(context.copies),
        part=context.part.name,
        encoder=compiler.encoders,
        emit=lambda output: outbox.append(*output),
        dead=compiler.dead,
        backoff=compiler.context.backoff,
        **rest,
    )
