"""Global tables read where no worker answers: all of the topic, by the plan that wrote the data folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import time

import msgspec

from dsl.plan.graph import Plan
from dsl.plan.nodes import GlobalTableNode, TopicNode
from flows.brokers.base import Broker, Records
from flows.compile.global_tables import GlobalRows
from flows.compile.values import ROW_TYPES
from flows.decode.opened import open_codecs
from flows.run.global_rows import RowLogs
from flows.settings import Settings

log = logging.getLogger("flows.cli")


def row_logs(plan: Plan, node: GlobalTableNode, settings: Settings, broker: Broker) -> RowLogs:
    """Return what reads a global table's topic as rows; without its module as far as the plan tells the columns."""
    topic = plan.nodes[node.topic]
    assert isinstance(topic, TopicNode)
    known = Plan(plan.app, tuple(plan.nodes.values()), plan.functions, {topic.id: _struct(topic), **plan.types})
    codecs = open_codecs(known, **settings.read_schema_registry_options())

    async def learn(name: str, values: Iterable[bytes | None]) -> None:
        try:
            await codecs.learn(name, values)
        finally:
            await codecs.close()

    return RowLogs(broker, GlobalRows(known, node, codecs.of(topic), time, _Told()), learn)


def _struct(topic: TopicNode) -> type[msgspec.Struct]:
    fields = [(f.name, ROW_TYPES.get(f.type.kind, object) | None, None) for f in topic.schema or ()]
    return msgspec.defstruct("Row", fields, module=__name__)


class _Told:
    """What is no row of the table is left out here as it is there."""

    def refuse(self, step: str, records: Records, row: int, reason: str, *, on_error: str = "dead-letter") -> None:
        log.warning("%s: record %s/%d is left out: %s", step, records.tp, records.offsets[row], reason[:300])
