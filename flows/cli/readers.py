"""Who answers a question about tables: a running worker by HTTP, or the broker and the data folder.

1. The broker tells which workers live.
2. One that serves a page is asked there: each answers for all, and says what it could not read.
3. Where none answers in full, the changelogs are read, which hold all that is committed; where no worker lives, and
   so none holds the stores, those give a head start.
"""

from __future__ import annotations

from pathlib import Path

from dsl.plan.nodes import GlobalTableNode
from flows.brokers.base import Broker, Member
from flows.cli.brokers import has_data, opened_broker
from flows.cli.http import RunningWorker, Unreachable
from flows.cli.subject import Subject, plan_of_data
from flows.cli.whole import row_logs
from flows.compile.names import changelog
from flows.compile.tables import table_decoders
from flows.query.base import TableInfo
from flows.query.offline import OfflineTables, StoredTable
from flows.query.sql import Result, run_sql
from flows.state.base import Store


async def ask(subject: Subject, sql: str, *, timeout: float) -> Result:
    """Run SQL over a subject's committed tables. Raises `QueryError`, `FlowsError`."""
    async with opened_broker(subject.settings) as broker:
        # 1
        members = await broker.group_members(subject.plan.app)
        # 2
        for worker in running_workers(subject, members):
            try:
                result = await worker.query(sql, timeout)
            except Unreachable:  # killed, its lease still running; or behind a token that is not ours
                continue
            if not (result.truncated or result.missing):
                return result
            break  # the others could not tell more
        # 3
        tables = offline_tables(subject, broker, with_stores=not members)
        return await run_sql(sql, tables, max_rows=None, timeout=timeout)


async def list_tables(subject: Subject) -> list[TableInfo]:
    """Return the tables of the worker that runs, else those of the plan that wrote the data folder."""
    if has_data(subject.settings):
        async with opened_broker(subject.settings) as broker:
            for worker in running_workers(subject, await broker.group_members(subject.plan.app)):
                try:
                    return await worker.tables()
                except Unreachable:
                    continue
    return [decoder.info for decoder in table_decoders(plan_of_data(subject)).values()]


def running_workers(subject: Subject, members: list[Member]) -> list[RunningWorker]:
    """Return those who serve a page, the ones with tasks first: of others the app may be another version."""
    token = subject.settings.read_web_token()
    return [RunningWorker(m.address, token) for m in sorted(members, key=lambda m: not m.tasks) if m.address]


def offline_tables(subject: Subject, broker: Broker, *, with_stores: bool) -> OfflineTables:
    """Read the tables of the plan that wrote a data folder."""
    plan, state = plan_of_data(subject), subject.settings.state
    tables = {}
    for name, decoder in table_decoders(plan).items():
        node = plan.table_nodes()[name]
        if isinstance(node, GlobalTableNode):
            logs = row_logs(plan, node, subject.settings, broker)
            tables[name] = StoredTable(decoder, logs.topic.name, (), logs)
            continue
        part = next((p for p in plan.subtopologies if node.id in p.steps), None)
        stores = () if part is None else tuple(state / part.name / str(p) for p in range(part.partitions))
        tables[name] = StoredTable(decoder, changelog(plan.app, name), stores)
    return OfflineTables(tables, broker, _open_store if with_stores else None)


def _open_store(folder: Path) -> Store:
    from flows.state.rocks import RocksStore
    from flows.state.rocks_options import RocksResources

    return RocksStore(folder, RocksResources(), read_only=True)
