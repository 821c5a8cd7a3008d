"""What can only be checked when all is declared: that timers have a task, and internal topics a name of their own."""

from __future__ import annotations

import inspect

from dsl.errors import DeclarationError
from dsl.plan.graph import Plan
from dsl.plan.nodes import RepartitionNode, TimerNode


def validate(plan: Plan) -> None:
    """Raise `DeclarationError` where the parts of a plan do not fit together."""
    _ = plan.subtopologies  # says which topics that share tasks differ in partitions
    _check_timers(plan)
    _check_internal_topics(plan)


def _check_timers(plan: Plan) -> None:
    for node in plan.steps_outside():
        if isinstance(node, TimerNode) and node.tables:
            raise DeclarationError(
                f"timer {node.id!r} uses table {node.tables[0]!r}, which no agent uses, so no task holds it: "
                "use the table in an agent too.",
                place=_place(plan, node.id),
            )


def _check_internal_topics(plan: Plan) -> None:
    for repartition in plan.of_type(RepartitionNode):
        if plan.topic(repartition.topic) is not None:
            raise DeclarationError(
                f"topic {repartition.topic!r} has the name of the internal topic of {repartition.id!r}: rename it."
            )


def _place(plan: Plan, step: str) -> str | None:
    """Return `file:line` of a step's function, where the plan has it."""
    function = plan.functions.get(step)
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    return f"{code.co_filename}:{code.co_firstlineno}" if code else None
