"""What an app keeps besides its topics, and how it goes: changelogs, repartition topics, positions, local stores.

Topics that the app declares, its dead letters and its late records stay: they are its input and its output.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from dsl.errors import nearest
from dsl.plan.graph import Plan
from dsl.plan.nodes import RepartitionNode
from flows.brokers.base import Broker
from flows.cli.subject import PLAN_FILE, Subject, stored_plan
from flows.compile.names import HIDDEN, changelog, global_store, store_tables
from flows.errors import FlowsError, UsageError
from flows.state.rocks import RocksStore
from flows.state.rocks_open import destroy_store
from flows.state.rocks_options import RocksResources


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a reset removes; `table` None is everything, positions too."""

    group: str
    table: str | None
    topics: tuple[str, ...]
    stores: tuple[Path, ...]
    data: Path

    def lines(self) -> Iterator[str]:
        """Yield what goes, a thing a line."""
        yield from (f"topic {name}" for name in self.topics)
        of = "" if self.table is None else f"table {self.table} in "
        yield from (f"{of}store {path}" for path in self.stores)
        if self.table is None:
            yield f"committed positions of group {self.group}"


async def find_kept(broker: Broker, subject: Subject, table: str | None) -> Kept:
    """Find what there is of an app, or of one of its tables, by its plan and by the one that wrote the data folder.

    Raises `UsageError` for an unknown table, and where the data folder is another app's.
    """
    plans = _plans(subject)
    known = {name for plan in plans for name in plan.stored_nodes()}
    if table is not None and table not in known:
        close = nearest(table, known)
        raise UsageError(
            f"there is no table {table!r}",
            fix=f"did you mean {close!r}?" if close else f"tables: {', '.join(sorted(known)) or 'none'}",
        )
    there = await broker.topics()
    names = dict.fromkeys(name for plan in plans for name, of in _topics(plan) if table is None or of == table)
    return Kept(
        group=subject.plan.app,
        table=table,
        topics=tuple(name for name in names if name in there),
        stores=tuple(sorted(p.parent for p in subject.settings.state.glob("*/*/CURRENT"))),
        data=subject.settings.data,
    )


async def check_stopped(broker: Broker, group: str) -> None:
    """Raise `FlowsError` while a worker of the group lives."""
    members = await broker.group_members(group)
    if members:
        raise FlowsError(
            f"a worker of {group!r} is running: {', '.join(m.id for m in members)}",
            fix="stop it first; one that was killed counts as running until its lease is over",
        )


async def remove(broker: Broker, kept: Kept) -> None:
    """Remove it. What is interrupted is finished by being run again; raises `StateLocked` for a store in use.

    1. The local stores, which a process that the group does not know of may still hold.
    2. The topics.
    3. The positions, last: without them nothing would tell that what is left is not the whole.
    """
    # 1
    _empty(kept.stores, kept.table)
    # 2
    for name in kept.topics:
        await broker.delete_topic(name)
    if kept.table is None:
        # 3
        await broker.delete_offsets(kept.group)
        shutil.rmtree(kept.data / "state", ignore_errors=True)
        (kept.data / PLAN_FILE).unlink(missing_ok=True)


def _plans(subject: Subject) -> list[Plan]:
    stored = stored_plan(subject.settings.data)
    if stored is not None and stored.app != subject.plan.app:
        raise UsageError(
            f"{subject.settings.data} has the data of app {stored.app!r}, not of {subject.plan.app!r}",
            fix="name the right folder by --data, or the right app by -A",
        )
    return [subject.plan] if stored is None else [subject.plan, stored]


def _topics(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the topics that keep something, each with the table that it belongs to, "" for none."""
    for part in plan.subtopologies:
        yield from ((changelog(plan.app, name), table) for name, table in store_tables(plan, part).items())
    yield from ((node.topic, "") for node in plan.of_type(RepartitionNode))


def _empty(stores: Iterable[Path], table: str | None) -> None:
    resources = RocksResources()
    for path in stores:
        if table is None or path == path.parents[1] / global_store(table):
            destroy_store(path, resources.options)
            continue
        store = RocksStore(path, resources)
        try:
            for name in store.tables():
                if name == table or name.removeprefix(table) in HIDDEN:
                    store.drop_table(name)
        finally:
            store.close()
